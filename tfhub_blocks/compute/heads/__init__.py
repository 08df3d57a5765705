"""Linear heads: fitting, choosing, and calibrating them."""
