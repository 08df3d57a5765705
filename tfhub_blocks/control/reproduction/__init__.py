"""A model made again from its lineage: planned, compared with what is here, run, and compared."""
