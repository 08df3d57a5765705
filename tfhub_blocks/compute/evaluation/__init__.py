"""What a model's answers are worth: measured, drawn, reported."""
