"""The conditions for registering a model, and the MLflow registry."""
