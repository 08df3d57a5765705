"""The workspace of Azure ML: what is published, submitted, watched and scheduled there."""
