"""What steps hand each other: formats, digests, lineage. Knows neither TensorFlow nor Azure."""
