"""Release locks: written from what resolves here, held against it, and told apart."""
