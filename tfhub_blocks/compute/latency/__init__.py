"""Measurement of a model's runtimes as served, and the choice of a runtime."""
