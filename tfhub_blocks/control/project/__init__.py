"""What one project is: profiles, graphs, requests, run records, the output store, cache keys."""
