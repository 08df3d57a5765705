"""What production demands of an encoder, beyond that its bytes are as pinned."""

from pathlib import Path
from typing import get_args

from tfhub_blocks.compute.step.step_policies import policy
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import open_folder
from tfhub_blocks.records.pins.encoder_decisions import (
    DEFAULT_POLICY,
    POLICY_VARIABLE,
    EncoderPolicy,
    undecided,
)
from tfhub_blocks.records.pins.handles import is_mutable
from tfhub_blocks.records.pins.pins import FORMAT, PIN_NAME, Decisions, Pin, read_pin

_TRY = f"to try things, let the profile say encoder_policy = 'experiment' ({POLICY_VARIABLE})"


def check_handle(handle: str, where: str) -> None:
    """Refuse a handle that may mean another encoder on another day, but in an experiment.

    Raises:
        BlocksError: It names no version, or there is no such policy.
    """
    if not _is_experiment(where) and is_mutable(handle):
        raise BlocksError(
            where,
            handle,
            "it names no version, so it may mean another encoder tomorrow",
            "a handle with a version",
            f"name one; {_TRY}",
        )


def check_decisions(decisions: Decisions, where: str) -> None:
    """Refuse an encoder about which not everything is decided, but in an experiment.

    Raises:
        BlocksError: Something is open, or there is no such policy.
    """
    names = undecided(decisions)
    if not _is_experiment(where) and names:
        raise BlocksError(
            where,
            "decisions",
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} undecided",
            "a decision on each, taken on purpose",
            f"write it into the pin (`tfhub-blocks encoder show` says what each means); {_TRY}",
        )


def tunable_pin(folder: Path, where: str) -> Pin:
    """The pin of an encoder that import_encoder made and that may be fine-tuned.

    Raises:
        BlocksError: It is no finished encoder, or ``check_fine_tuning`` refuses it.
    """
    pin = read_pin(open_folder(folder, FORMAT, where).file(PIN_NAME))
    check_fine_tuning(pin, where)
    return pin


def check_fine_tuning(pin: Pin, where: str) -> None:
    """Refuse to fine-tune an encoder that may not be, or of which that is open in production.

    Raises:
        BlocksError: Its pin forbids it, says nothing where it has to, or there is no such policy.
    """
    decided = pin.decisions.fine_tuning
    if decided == "allowed" or (decided == "undecided" and _is_experiment(where)):
        return
    remedy = "train a head on its features (train_head), or have its team decide otherwise"
    if decided == "undecided":
        remedy = f"have its team decide, and write it into the pin; {_TRY}"
    raise BlocksError(
        where,
        pin.name,
        f"its pin says fine_tuning = {decided!r}",
        "fine_tuning = 'allowed'",
        remedy,
    )


def _is_experiment(where: str) -> bool:
    return policy(where, POLICY_VARIABLE, get_args(EncoderPolicy), DEFAULT_POLICY) == "experiment"
