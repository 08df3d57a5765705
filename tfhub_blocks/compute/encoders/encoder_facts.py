"""Facts: what is told of an encoder because its SavedModel does not say it, and what a pin says."""

from typing import Any

from tfhub_blocks.compute.encoders.golden import check_golden
from tfhub_blocks.records.base.documents import as_record
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin

LONGEST_TOLD = 200


def check_facts(pin: Pin, inspected: Pin, where: str) -> None:
    """Hold what a pin says of an encoder against what was seen when it was loaded.

    Raises:
        BlocksError: They disagree in what can be seen, or its golden outputs differ: not in name,
            handle, licence or decisions.
    """
    pinned, found = _facts(pin), _facts(inspected)
    for key in sorted(pinned.keys() | found.keys()):
        stated, seen = pinned.get(key), found.get(key)
        if stated != seen:
            raise BlocksError(
                where,
                f"{PIN_NAME}: {key}",
                f"the pin says {_short(stated)}",
                f"{_short(seen)}, as the encoder that was loaded has it",
                "correct the pin, or get the encoder that it was made for",
            )
    check_golden(pin.golden, inspected.golden, where)


def parse_facts(text: str | None) -> dict[str, Any]:
    """What is told of an encoder: ``NAME=VALUE`` or ``NAME=VALUE:VALUE``, with commas between.

    Values are numbers where they look like one: ``size_px=96:96, range=-1:1, output=note``.

    Raises:
        BlocksError: A part has no name or no value.
    """
    told: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        if not name or not value:
            expected = "NAME=VALUE, with commas between"
            raise BlocksError("facts", part, "it has no name or no value", expected, "mend it")
        values = [_number(word) for word in value.split(":")]
        told[name] = values if len(values) > 1 else values[0]
    return told


def told_facts(pin: Pin) -> dict[str, Any]:
    """What a pin says that its SavedModel does not, or that it must not contradict."""
    output = {"output": pin.output.key} if pin.output.key is not None else {}
    return {**pin.input, **output, "pooling": pin.output.pooling, "licence": pin.licence}


def _facts(pin: Pin) -> dict[str, Any]:
    record = as_record(pin)
    facts = {key: record[key] for key in ("loaded_class", "modality")}
    for table in ("input", "output", "training", "operations"):
        facts |= {f"{table}.{key}": value for key, value in record[table].items()}
    return facts


def _short(value: Any) -> str:
    told = str(list(value) if isinstance(value, tuple) else value)
    return told if len(told) <= LONGEST_TOLD else f"{told[:LONGEST_TOLD]}..."


def _number(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
