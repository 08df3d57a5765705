"""Fine-tuning of the upper part of an encoder."""
