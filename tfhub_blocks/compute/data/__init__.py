"""The way from a changing data set to a snapshot."""
