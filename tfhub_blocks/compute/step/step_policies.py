"""Policies of a profile, which reach a step as environment variables."""

# decision 32

import os
from collections.abc import Sequence

from tfhub_blocks.records.base.errors import BlocksError, nearest


def policy(step_name: str, variable: str, known: Sequence[str], default: str) -> str:
    """Return the policy that an environment variable sets, or the default if it is empty.

    Raises:
        BlocksError: The value is not one of the known words.
    """
    given = os.environ.get(variable) or default
    if given not in known:
        raise BlocksError(
            step_name,
            variable,
            f"{given!r} is not a known policy",
            "one of " + ", ".join(known),
            nearest(given, known) or f"Set {variable} to one of these",
        )
    return given
