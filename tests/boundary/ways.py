"""What a way is: something that somebody does so that what nobody reviewed gets into production."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAYS: dict[str, "Way"] = {}
GOLDENS = Path(__file__).parent / "goldens"


@dataclass(frozen=True)
class Way:
    """One way: ``name`` is the id of its case, ``deed`` what somebody does, in the list's words.

    ``act`` does it to what the fixture ``stand`` gives, and may give the words of another command
    than the one that the stand tries then.
    """

    name: str
    surface: str
    deed: str
    stand: str
    act: Callable[[Any], Any]

    @property
    def told(self) -> str:
        """Who refuses, and why: the golden's first line without what to do about it."""
        line = (GOLDENS / f"{self.name}.txt").read_text(encoding="utf-8").partition("\n")[0]
        return line.removeprefix("error: ").partition(". Expected ")[0]


def surface(
    title: str, stand: str
) -> Callable[[str], Callable[[Callable[[Any], Any]], Callable[[Any], Any]]]:
    """A decorator for the ways by one surface: ``@way("what somebody does")``, named as its act."""

    def way(deed: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        def declare(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
            assert act.__name__ not in WAYS
            WAYS[act.__name__] = Way(act.__name__, title, deed, stand, act)
            return act

        return declare

    return way
