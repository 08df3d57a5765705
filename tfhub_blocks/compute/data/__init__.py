"""From files or a table that may change to a snapshot that cannot."""
