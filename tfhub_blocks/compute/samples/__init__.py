"""Sample images and a sample encoder, made from installed packages alone."""
