"""The chain of statements behind an output: found, verified, drawn, followed forward, and told."""
