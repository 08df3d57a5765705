"""Model cards and the bill of materials."""
