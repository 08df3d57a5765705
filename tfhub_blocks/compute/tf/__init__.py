"""TensorFlow itself: its import, SavedModels on disk and in memory, graphs, and operations."""
