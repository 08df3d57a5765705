"""Partial fine-tuning: the lower part of an encoder once for each item, the upper part trained."""
