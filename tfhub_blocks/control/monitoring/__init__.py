"""Monitoring of models on this machine: what to compare, and the state of all models."""
