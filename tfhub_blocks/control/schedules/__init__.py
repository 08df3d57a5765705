"""Pipelines that run at set times in a workspace."""
