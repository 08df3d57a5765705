"""What runs inside a step: snapshots, encoders, features, heads, metrics. Never the workspace."""
