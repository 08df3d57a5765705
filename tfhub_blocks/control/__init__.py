"""What runs beside the workspace: code snapshots, the local engine, profiles. Never TensorFlow."""
