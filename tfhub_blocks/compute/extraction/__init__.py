"""The features of a snapshot."""
