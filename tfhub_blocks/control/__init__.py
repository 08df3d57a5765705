"""The code that runs next to the workspace. It uses Azure, and never TensorFlow."""
