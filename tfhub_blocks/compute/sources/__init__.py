"""Where encoders come from: one interface, a class and a file for each."""
