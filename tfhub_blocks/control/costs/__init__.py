"""Ceilings, forecasts, accounts, and prices."""
