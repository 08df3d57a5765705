"""Warnings of other libraries, kept out of the cells of a notebook and off the screen."""

import logging
import warnings


def quiet_libraries() -> None:
    """Hide the lines that azure-ai-ml prints about its own experimental classes."""
    logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)
    for module in (r"azure\..*", r"marshmallow\..*", r"mldesigner\..*"):
        warnings.filterwarnings("ignore", module=module)
