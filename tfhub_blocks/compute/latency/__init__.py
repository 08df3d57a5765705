"""Latency: how soon a model answers, by which runtime, under which load."""
