"""Withdrawals: statements that something, and what was built from it, must not be used."""

# decision 65

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tfhub_blocks.records.base.sealed_statements import sealed

FORMAT = "withdrawal/1"
KINDS = ("model", "encoder", "snapshot", "data", "licence", "item", "output")
# The variable in which a step gets the withdrawals in force.
VARIABLE = "TFHUB_BLOCKS_WITHDRAWN"
# The tag of a registered model that is withdrawn: the digest of the withdrawal.
TAG = "withdrawn"
# The number of digits of a digest in the name of a file, and in the variable.
NAME_DIGITS = 12


@dataclass(frozen=True)
class Withdrawal:
    """The decision that something, and everything that was built from it, must not be used.

    ``name`` is the name that users know: MODEL:VERSION, an encoder's name, NAME:VERSION of a data
    asset, a licence, or the id of an item. ``digests`` are the digests of its content, and of the
    snapshots that contain it. ``affected`` are digests of all outputs that were built from it, as
    far as the archive of ``deciders`` contained them: of how each was made (``Lineage.making``),
    and of the content of models, encoders and snapshots. ``restores`` is the digest of the
    withdrawal that this statement ends, or empty.
    """

    kind: str
    name: str
    digests: tuple[str, ...]
    affected: tuple[str, ...]
    reason: str
    deciders: tuple[str, ...]
    decided: str
    restores: str = ""

    @property
    def digest(self) -> str:
        """The digest in the statement, which covers its content."""
        return str(self.as_statement()["digest"])

    @property
    def file_name(self) -> str:
        """The name of the statement's file, which contains its digest."""
        return f"{self.digest[:NAME_DIGITS]}.json"

    def as_statement(self) -> dict[str, Any]:
        """Return the statement, JSON-ready, with its own digest."""
        return sealed({"format": FORMAT, **json.loads(json.dumps(asdict(self)))})

    def as_text(self) -> str:
        """Return the text of the statement's file."""
        return json.dumps(self.as_statement(), indent=1, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        """Return kind, name and reason in one line."""
        by = f" by {self.deciders[0]}" if self.deciders else ""
        return f"{self.kind} {self.name}, withdrawn on {self.decided[:10]}{by}: {self.reason}"


def parse_withdrawal(text: str) -> Withdrawal:
    """Parse the text of a withdrawal.

    Raises:
        ValueError: The text is not a withdrawal, has another format, or was edited.
    """
    statement = json.loads(text)
    try:
        values = {key: it for key, it in statement.items() if key not in ("format", "digest")}
        for key in ("digests", "affected", "deciders"):
            values[key] = tuple(map(str, values[key]))
        found = Withdrawal(**values)
        # Comparing the complete statements also refuses additional keys, which no digest covers.
        if found.as_statement() != statement:
            raise ValueError("the digest does not match the content")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the file is not a withdrawal ({error})") from error
    if found.kind not in KINDS:
        raise ValueError(f"the kind {found.kind!r} is unknown")
    return found


def in_force(statements: Iterable[Withdrawal]) -> list[Withdrawal]:
    """Return the withdrawals that no later statement ends, without the statements that end some."""
    known = list(statements)
    ended = {it.restores for it in known}
    return [it for it in known if not it.restores and it.digest not in ended]
