"""Sample data and sample encoders, built from installed packages alone."""
