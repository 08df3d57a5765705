"""The frame around every step: parameters, environment check, lock check, and lineage."""
