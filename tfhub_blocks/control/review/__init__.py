"""The review of a change: two commits compared without running a step."""
