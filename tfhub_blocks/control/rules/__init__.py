"""The checks that run before anything else runs."""
