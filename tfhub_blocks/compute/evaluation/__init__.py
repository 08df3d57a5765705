"""The measurement of a model on a split, the comparison with the champion, and the report."""
