"""One way to open a model, an encoder, or a third-party pyfunc, and to answer items with it."""
