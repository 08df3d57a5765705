"""From data to what a model answers for each of its places."""
