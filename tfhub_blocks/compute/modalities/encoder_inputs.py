"""Inputs of encoders, read from the facts of their pins."""

from collections.abc import Mapping
from typing import Any

from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.records.base.documents import read_record
from tfhub_blocks.records.base.errors import BlocksError


def read_input(name: str, record: Mapping[str, Any], where: str) -> Modality:
    """Return an encoder's input, from a pin's ``modality`` and its table ``input``.

    Raises:
        BlocksError: No encoder takes this modality, or a key is missing, unknown or mistyped.
    """
    kinds = {each: kind for each, kind in MODALITIES.items() if kind is not Modality}
    if name not in kinds:
        remedy = "Correct modality in the pin, or update tfhub-blocks"
        expected = f"one of {', '.join(kinds)}"
        raise BlocksError(where, "modality", f"no encoder takes {name!r}", expected, remedy)
    read = read_record(record, kinds[name], where, "input")
    for key, problem, expected in read.faults():
        remedy = f"Correct {key} in the pin, or in the facts that you pass"
        raise BlocksError(where, f"input.{key}", problem, expected, remedy)
    return read
