"""Measurement of a model's runtimes as they will be served, and the choice of one."""
