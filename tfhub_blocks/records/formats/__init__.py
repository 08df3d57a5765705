"""The formats of outputs and statements, each with its reader and writer."""
