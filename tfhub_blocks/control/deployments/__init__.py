"""Endpoints: what is deployed for a time, what it costs until its end, and its end."""
