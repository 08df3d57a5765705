"""Online and batch endpoints with an owner, a budget, and an end date."""
