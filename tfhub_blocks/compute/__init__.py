"""The code that runs inside a step. The code uses TensorFlow, and never the workspace."""
