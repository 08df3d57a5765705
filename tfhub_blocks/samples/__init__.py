"""Sample data and sample encoders, from installed packages alone."""
