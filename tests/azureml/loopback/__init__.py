"""Azure ML on loopback, for the unmodified MLClient: see docs/testing-azure.md."""
