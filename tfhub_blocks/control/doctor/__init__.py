"""Checks a workspace: everything that commands need there, read-only or with a trial run."""
