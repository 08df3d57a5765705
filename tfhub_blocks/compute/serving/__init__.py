"""The HTTP server around a model."""
