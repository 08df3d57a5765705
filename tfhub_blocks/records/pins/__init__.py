"""Pins of encoders, and the encoder decisions in them."""
