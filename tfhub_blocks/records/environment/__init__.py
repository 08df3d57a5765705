"""Environment definitions, package locks, environment drift, machine facts, and code snapshots."""
