"""First on the path of every step that the local engine starts."""
