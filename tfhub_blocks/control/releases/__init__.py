"""Release locks: resolving, proving, writing, and replaying them."""
