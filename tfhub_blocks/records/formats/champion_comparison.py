"""What an evaluation found of a model against the champion: the model that is in production."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# The port at which a step is given the model that another one is compared with. Nothing is made of
# what comes in there but numbers, so a chain looks at it and at nothing behind it.
CHAMPION_PORT = "champion"
MIN_GAIN = "min_accuracy_gain"

Estimates = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class ChampionComparison:
    """A model and the champion on the same items of one split.

    ``champion`` and ``snapshot`` are digests of what answered and of the data that both were asked
    about, ``training_snapshot`` of what the champion learned from. ``metrics`` are the champion's;
    ``changes`` are the model's less the champion's, item by item, each as value, low and high.
    ``may_have_seen`` names who of both was trained on other splits, so that test items may have
    been among what it learned from.
    """

    champion: str
    snapshot: str
    training_snapshot: str
    items: int
    only_model_right: int
    only_champion_right: int
    metrics: Estimates = field(default_factory=dict)
    changes: Estimates = field(default_factory=dict)
    may_have_seen: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"may_have_seen": list(self.may_have_seen)}

    @property
    def verdict(self) -> str:
        """Who gets more items right, as far as the interval lets one say so."""
        gain = self.changes["accuracy"]
        if gain["low"] > 0:
            return "the model is better than the champion"
        if gain["high"] < 0:
            return "the champion is better than the model"
        return "neither model nor champion is surely better"

    def told(self) -> str:
        """The verdict with what it rests on, in a line."""
        gain = self.changes["accuracy"]
        return (
            f"{self.verdict} ({self.champion[:12]}): accuracy "
            f"{gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f}); of {self.items} "
            f"items {self.only_model_right} are right by the model alone, "
            f"{self.only_champion_right} by the champion alone"
        )

    def warnings(self) -> Iterator[str]:
        """What is to be known about the splits, a sentence each."""
        for who in self.may_have_seen:
            how = "less than" if who == CHAMPION_PORT else "more than"
            yield (
                f"The {who} was trained on other splits and may have seen test items, which lets "
                f"the model gain {how} it would otherwise."
            )


def read_comparison(record: Mapping[str, Any]) -> ChampionComparison:
    """What ``as_dict`` gave.

    Raises:
        TypeError: It is something else.
        KeyError: (as TypeError)
    """
    found = ChampionComparison(**{**record, "may_have_seen": tuple(record["may_have_seen"])})
    if not {"value", "low", "high"} <= found.changes["accuracy"].keys():
        raise KeyError("accuracy")
    return found
