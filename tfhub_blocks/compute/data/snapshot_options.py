"""The options of a snapshot, which decide how a source is read and how its items are split."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.data.fields import STEP_NAME
from tfhub_blocks.compute.data.grouping import check_group_by
from tfhub_blocks.compute.data.splitting import RULE, SplitFractions
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.records.base.errors import BlocksError

TOGETHER, REPORT, OFF = DUPLICATE_RULES = ("together", "report", "off")


@dataclass(frozen=True)
class SnapshotOptions:
    """Options for reading a source and splitting its items.

    Raises:
        BlocksError: An option is outside its range.
    """

    modality: str = "auto"
    split_salt: str = "splits-1"
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    respect_splits: bool = False
    max_rejected_fraction: float = 0.01
    max_pixels: int = 50_000_000
    max_seconds: float = 600.0
    follow_links: bool = False
    group_by: str = ""
    near_duplicates: str = TOGETHER
    label_column: str = "label"
    previous: Path | None = None
    min_test_items: int = 0
    min_class_test_items: int = 0
    min_accuracy_gain: float | None = None

    def __post_init__(self) -> None:
        choices = ("auto", *MODALITIES)
        if self.modality not in choices:
            raise _bad_option("modality", repr(self.modality), f"one of {', '.join(choices)}")
        if self.near_duplicates not in DUPLICATE_RULES:
            expected = f"one of {', '.join(DUPLICATE_RULES)}"
            raise _bad_option("near_duplicates", repr(self.near_duplicates), expected)
        check_group_by(self.group_by)
        for name in ("validation_fraction", "test_fraction", "max_rejected_fraction"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise _bad_option(name, value, "a value from 0 to 1")
        held_out = self.validation_fraction + self.test_fraction
        if held_out >= 1:
            raise BlocksError(
                STEP_NAME,
                "validation_fraction",
                f"{self.validation_fraction} and test_fraction {self.test_fraction} leave no items "
                "for training",
                "a sum below 1",
                "Set smaller values for validation_fraction and test_fraction",
            )
        if self.max_pixels < 1:
            raise _bad_option("max_pixels", self.max_pixels, "1 or more")
        if not self.max_seconds > 0:
            raise _bad_option("max_seconds", self.max_seconds, "more than 0")

    @property
    def limits(self) -> Limits:
        """The limits on the size of items."""
        return Limits(self.max_pixels, self.max_seconds)

    def split_rule(self) -> Mapping[str, Any]:
        """Return the split rule that the manifest records."""
        if self.respect_splits:
            return {"kind": "given"}
        return {
            "kind": RULE,
            "salt": self.split_salt,
            "validation_fraction": self.validation_fraction,
            "test_fraction": self.test_fraction,
            "group_by": self.group_by,
            "near_duplicates": self.near_duplicates,
        }

    @property
    def fractions(self) -> SplitFractions:
        """The salt and the fractions of the split rule."""
        return SplitFractions(self.split_salt, self.validation_fraction, self.test_fraction)


def _bad_option(name: str, value: Any, expected: str) -> BlocksError:
    return BlocksError(STEP_NAME, name, f"{value} is not allowed", "", f"Set {name} to {expected}")
