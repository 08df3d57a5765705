"""Scoring of unlabelled data in batches."""
