"""Monitoring: whether the items of a model have moved, and what that costs in accuracy."""
