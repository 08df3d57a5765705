"""The formats of outputs and statements, with their readers and writers."""
