"""Clients that run pipelines from Python and notebooks."""
