"""The HTTP server for a model."""
