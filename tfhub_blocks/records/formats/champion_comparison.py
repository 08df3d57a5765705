"""The comparison of a model with the champion, which is the model in production."""

# decision 51

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# The port for the model with which a step compares another model. Only numbers are computed from
# this input, so a lineage check covers the champion itself, but not the champion's own lineage.
CHAMPION_PORT = "champion"
MIN_GAIN = "min_accuracy_gain"

Estimates = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class ChampionComparison:
    """A model and the champion on the same items of one split.

    ``champion``, ``snapshot`` and ``training_snapshot`` are the digests of the champion, of the
    data of the comparison, and of the champion's training data. ``metrics`` are the champion's.
    ``changes`` are the model's metrics minus the champion's, item by item, each as value, low and
    high. ``may_have_seen`` lists the models that were trained on other splits: their training data
    may contain test items.
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
        """Return a JSON-ready record."""
        return asdict(self) | {"may_have_seen": list(self.may_have_seen)}

    @property
    def verdict(self) -> str:
        """The better of model and champion, if the interval of the accuracy gain decides it."""
        gain = self.changes["accuracy"]
        if gain["low"] > 0:
            return "the model is better than the champion"
        if gain["high"] < 0:
            return "the champion is better than the model"
        return "the difference between model and champion is within its error"

    def told(self) -> str:
        """Return the verdict with its numbers, in one line."""
        gain = self.changes["accuracy"]
        return (
            f"{self.verdict} ({self.champion[:12]}): accuracy "
            f"{gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f}); of {self.items} "
            f"items, only the model answers {self.only_model_right} correctly, and only the "
            f"champion {self.only_champion_right}"
        )

    def warnings(self) -> Iterator[str]:
        """Yield one sentence for each model whose training data may contain test items."""
        for who in self.may_have_seen:
            bias = "too low" if who == CHAMPION_PORT else "too high"
            yield (
                f"The {who} was trained on other splits and may have seen test items. The gain of "
                f"the model may therefore be {bias}."
            )


def read_comparison(record: Mapping[str, Any]) -> ChampionComparison:
    """Read a record that ``as_dict`` returned.

    Raises:
        TypeError: The record has other fields.
        KeyError: A field is missing.
    """
    found = ChampionComparison(**{**record, "may_have_seen": tuple(record["may_have_seen"])})
    if not {"value", "low", "high"} <= found.changes["accuracy"].keys():
        raise KeyError("accuracy")
    return found
