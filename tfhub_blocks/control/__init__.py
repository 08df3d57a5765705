"""The code that runs next to the workspace. Azure, never TensorFlow."""
