"""Linear heads: fitting, choice and calibration."""
