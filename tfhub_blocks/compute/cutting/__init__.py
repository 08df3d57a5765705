"""The cuts at which an encoder can be trained in part, and their costs."""
