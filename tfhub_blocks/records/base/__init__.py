"""Digests, folders, lineage statements, shards, errors, progress, workers and templates."""
