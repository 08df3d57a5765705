"""Serving: a model's answers to contents, one at a time or a few together."""
