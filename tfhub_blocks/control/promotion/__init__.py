"""Promotions: which model may go where, on what conditions, decided by whom."""
