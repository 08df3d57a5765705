"""Rules: what a pipeline and its profile are held to before anything runs."""
