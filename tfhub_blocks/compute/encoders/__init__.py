"""Import, inspection, pinning, and loading of encoders."""
