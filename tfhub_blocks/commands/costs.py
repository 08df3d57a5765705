"""``cost``: what a run may cost and is expected to, what it did, and the prices."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfhub_blocks.control.profiles import Profile


def warn_of_prices(profiles: Iterable["Profile"]) -> None:
    """Say of old prices that a budget is held against, once.

    Raises:
        BlocksError: There is a budget, and the file of prices is not as it must be.
    """
    from tfhub_blocks.control.costs.prices import load_prices

    if any(profile.budget for profile in profiles):
        for warning in load_prices().warnings():
            print(f"warning: {warning}", file=sys.stderr)
