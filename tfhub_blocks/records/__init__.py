"""The records that steps exchange: formats, pins and lineage. No TensorFlow, no Azure."""
