"""The conditions of production for an encoder, in addition to verified bytes."""

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

_TRY = f"or for an experiment set encoder_policy = 'experiment' in the profile ({POLICY_VARIABLE})"


def check_handle(handle: str, where: str) -> None:
    """Refuse a handle without a version, except in an experiment.

    Raises:
        BlocksError: The handle names no version, or the policy is unknown.
    """
    if not _is_experiment(where) and is_mutable(handle):
        raise BlocksError(
            where,
            handle,
            "the handle names no version, so it may refer to another encoder tomorrow",
            "a handle with a version",
            f"Add the version to the handle, {_TRY}",
        )


def treatment(where: str) -> str:
    """Return the treatment of an encoder without a pin, if the request does not state it.

    Raises:
        BlocksError: The policy is unknown.
    """
    return "accept" if _is_experiment(where) else "refuse"


def check_decisions(decisions: Decisions, where: str) -> None:
    """Refuse an encoder with an open decision, except in an experiment.

    Raises:
        BlocksError: A decision is open, or the policy is unknown.
    """
    names = undecided(decisions)
    if not _is_experiment(where) and names:
        raise BlocksError(
            where,
            "decisions",
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} undecided",
            "a value for each decision",
            f"Write the values into the pin (`tfhub-blocks encoder show` explains them), {_TRY}",
        )


def tunable_pin(folder: Path, where: str) -> Pin:
    """Return the pin of an encoder from import_encoder that may be fine-tuned.

    Raises:
        BlocksError: The folder is no finished encoder, or ``check_fine_tuning`` refuses the pin.
    """
    pin = read_pin(open_folder(folder, FORMAT, where).file(PIN_NAME))
    check_fine_tuning(pin, where)
    return pin


def check_fine_tuning(pin: Pin, where: str) -> None:
    """Refuse to fine-tune an encoder whose pin does not allow it.

    In an experiment, an open decision is enough.

    Raises:
        BlocksError: The pin forbids fine-tuning, the decision is open outside an experiment, or
            the policy is unknown.
    """
    decided = pin.decisions.fine_tuning
    if decided == "allowed" or (decided == "undecided" and _is_experiment(where)):
        return
    remedy = (
        "Train a head on the encoder's features (train_head), or change the decision in the pin"
    )
    if decided == "undecided":
        remedy = f"Set fine_tuning in the pin, {_TRY}"
    raise BlocksError(
        where,
        pin.name,
        f"the pin states fine_tuning = {decided!r}",
        "fine_tuning = 'allowed'",
        remedy,
    )


def _is_experiment(where: str) -> bool:
    return policy(where, POLICY_VARIABLE, get_args(EncoderPolicy), DEFAULT_POLICY) == "experiment"
