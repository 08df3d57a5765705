"""What a run may cost, what it is expected to, and what it did."""
