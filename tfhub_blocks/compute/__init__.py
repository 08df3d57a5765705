"""The code that runs inside a step. TensorFlow, never the workspace."""
