"""Digests, folders, lineage statements, shards, documents, errors, progress, and worker groups."""
