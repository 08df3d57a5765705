"""What a profile says of policies reaches a step as environment variables."""

import os
from collections.abc import Sequence

from tfhub_blocks.records.base.errors import BlocksError, nearest


def policy(step_name: str, variable: str, known: Sequence[str], default: str) -> str:
    """What an environment variable says, or the default if it says nothing.

    Raises:
        BlocksError: It says something else than one of the known words.
    """
    given = os.environ.get(variable) or default
    if given not in known:
        raise BlocksError(
            step_name,
            variable,
            f"it is {given!r}",
            "one of " + ", ".join(known),
            nearest(given, known) or "correct it",
        )
    return given
