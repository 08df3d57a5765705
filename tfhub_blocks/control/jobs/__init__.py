"""Jobs on Azure ML: submission, progress, outputs, comparison, and proof of a release."""
