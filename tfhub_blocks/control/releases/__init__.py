"""Release locks: their resolution, proof, writing, and replay."""
