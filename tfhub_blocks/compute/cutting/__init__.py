"""The cuts at which an encoder can be partially trained, and their costs."""
