"""The promotion of a registered model to a workspace or registry, after its conditions are met."""
