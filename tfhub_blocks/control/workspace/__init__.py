"""One Azure ML workspace: connection, clusters, assets, uploads, and errors."""
