"""Steps that operate on Azure ML, such as one that retires endpoints. Control, never TensorFlow."""
