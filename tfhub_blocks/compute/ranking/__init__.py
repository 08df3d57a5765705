"""The ranking of encoders on a sample of items."""
