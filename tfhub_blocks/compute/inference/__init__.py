"""Forward passes: engines, their selection and parity, and work that workers plan and share."""
