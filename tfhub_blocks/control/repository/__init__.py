"""The checkout: pipelines and steps by name, the state of git, and users' names."""
