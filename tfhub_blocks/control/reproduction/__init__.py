"""A second build of a registered model from its lineage, and the comparison of both."""
