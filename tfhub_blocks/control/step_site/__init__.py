"""The folder on a step's PYTHONPATH that hides azure-ai-ml from it."""
