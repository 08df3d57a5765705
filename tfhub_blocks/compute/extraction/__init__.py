"""The extraction of the features of a snapshot."""
