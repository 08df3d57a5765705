"""Forward passes: engines, their selection and parity, and work that is planned and shared."""
