"""Environment definitions, their locks, baked images, checks, and differences."""
