"""The engine that runs a graph as processes on the local machine."""
