"""Cost ceilings, forecasts, accounts and prices."""
