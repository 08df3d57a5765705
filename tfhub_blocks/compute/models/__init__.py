"""Writing and loading of the self-contained MLflow model."""
