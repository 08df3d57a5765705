"""Facts about an encoder: those that users pass, and those that a pin states."""

# decision 9

from typing import Any

from tfhub_blocks.compute.encoders.golden import check_golden
from tfhub_blocks.records.base.documents import as_record
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.redaction import has_secret
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin

LONGEST_TOLD = 200
# Facts of which each value counts.
ADDING = ("allow_op",)


def check_facts(pin: Pin, inspected: Pin, where: str) -> None:
    """Compare the facts in a pin with the facts of the loaded encoder.

    Name, handle, licence and decisions are not compared.

    Raises:
        BlocksError: A fact or the golden outputs differ.
    """
    pinned, found = _facts(pin), _facts(inspected)
    for key in sorted(pinned.keys() | found.keys()):
        stated, seen = pinned.get(key), found.get(key)
        if stated != seen:
            raise BlocksError(
                where,
                f"{PIN_NAME}: {key}",
                f"the pin states {_short(stated)}",
                f"{_short(seen)}, as in the loaded encoder",
                f"Correct {key} in {PIN_NAME}, or pass the encoder that was pinned",
            )
    check_golden(pin.golden, inspected.golden, where)


def parse_facts(text: str | None) -> dict[str, Any]:
    """Parse facts about an encoder: ``NAME=VALUE`` or ``NAME=VALUE:VALUE``, separated by commas.

    A value that looks like a number is a number: ``size_px=96:96, range=-1:1, output=note``. The
    values of a repeated ``allow_op`` add up.

    Raises:
        BlocksError: A part has no name or no value, contains a credential, or sets a fact again to
            another value.
    """
    facts: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        if not name or not value:
            problem, expected = f"{part!r} has no name or no value", "NAME=VALUE"
            remedy = "Write facts as NAME=VALUE, separated by commas, such as size_px=96:96"
            raise BlocksError("facts", part, problem, expected, remedy)
        if has_secret(part):
            raise BlocksError(
                "facts",
                name,
                f"the value of {name} contains a credential, which the pin would keep",
                "a value without a password, a key or a signature",
                f"Leave the credential out of {name}",
            )
        values = [_number(word) for word in value.split(":")]
        given = values if len(values) > 1 else values[0]
        if name in ADDING and name in facts:
            before = facts[name] if isinstance(facts[name], list) else [facts[name]]
            given = list(dict.fromkeys([*before, *values]))
        elif facts.get(name, given) != given:
            problem = f"the fact {name} is {_short(facts[name])} and {_short(given)}"
            remedy = f"Pass {name} once"
            raise BlocksError("facts", name, problem, "one value", remedy)
        facts[name] = given
    return facts


def told_facts(pin: Pin) -> dict[str, Any]:
    """Return the facts of a pin that its SavedModel does not contain, or must not contradict."""
    output = {"output": pin.output.key} if pin.output.key is not None else {}
    calling = {"signature": pin.calling.signature} if pin.calling and pin.calling.signature else {}
    allowed = {"allow_op": list(pin.operations.allowed)} if pin.operations.allowed else {}
    return {
        **pin.input,
        **output,
        **calling,
        "pooling": pin.output.pooling,
        "licence": pin.licence,
        **allowed,
    }


def _facts(pin: Pin) -> dict[str, Any]:
    record = as_record(pin)
    facts = {key: record[key] for key in ("loaded_class", "modality")}
    for table in ("input", "output", "training", "operations"):
        facts |= {f"{table}.{key}": value for key, value in record[table].items()}
    facts |= {f"calling.{key}": value for key, value in record.get("calling", {}).items()}
    return facts


def _short(value: Any) -> str:
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD]}..."


def _number(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
