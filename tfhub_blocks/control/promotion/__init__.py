"""The decision that a registered model may go where others use it."""
