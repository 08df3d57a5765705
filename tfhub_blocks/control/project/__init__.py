"""One project: profiles, graphs, requests, run records, the output store, and cache keys."""
