"""Budgets: what is asked of a model's speed, and whether what was measured is within it."""

from collections.abc import Mapping
from dataclasses import fields, replace

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.evidence import Threshold
from tfhub_blocks.records.formats.runtimes import Speeds
from tfhub_blocks.records.pins.pins import Decisions

# Of these, the other way round, the least is asked for.
LEAST = ("items_per_s",)
UNITS = {"ms": "ms", "s": "s", "mb": "MB"}

FROM_OWN = "max_difference_from_own"
FROM_EVALUATION = "max_difference_from_evaluation"
"""The thresholds on answers: served against the model's own program, and against ``evaluate``."""
FLOAT32_TOLERANCE = 1e-5
"""The most that float32 may differ from what ``evaluate`` computed, whatever else is allowed."""
REFERENCES = {FROM_OWN: "its own program", FROM_EVALUATION: "evaluate"}


def with_decided(asked: Speeds, decisions: Decisions | None) -> Speeds:
    """What is asked, p99 at most what the pin's team decided for one item, if it did."""
    decided_ms = decisions.latency_budget_ms if decisions else None
    if decided_ms is None:
        return asked
    return replace(asked, p99_ms=min(decided_ms, asked.p99_ms or decided_ms))


def hold_budget(budget: Speeds, measured: Speeds) -> tuple[Threshold, ...]:
    """Each bound that is asked for, by name (``max_p99_ms``, ``min_items_per_s``)."""
    held = []
    for field in fields(Speeds):
        asked, value = getattr(budget, field.name), getattr(measured, field.name)
        if asked is None:
            continue
        least = field.name in LEAST
        met = value >= asked if least else value <= asked
        held.append(Threshold(threshold_name(field.name), asked, value, met))
    return tuple(held)


def hold_differences(
    differences: Mapping[str, float], tolerance: float, precision: str
) -> tuple[Threshold, ...]:
    """For each reference, that no served number differs from it by more."""
    held = []
    for name, value in differences.items():
        strict = name == FROM_EVALUATION and precision == "float32"
        most = min(tolerance, FLOAT32_TOLERANCE) if strict else tolerance
        held.append(Threshold(name, most, value, value <= most))
    return tuple(held)


def threshold_name(speed: str) -> str:
    """The name of the threshold on one of the speeds."""
    return f"{'min' if speed in LEAST else 'max'}_{speed}"


def told(threshold: Threshold) -> tuple[str, str]:
    """A threshold's name and what was asked, for people."""
    kind, _, speed = threshold.name.partition("_")
    bound = f"at {'least' if kind == 'min' else 'most'} {threshold.asked:g}"
    if threshold.name in REFERENCES:
        return f"Difference from {REFERENCES[threshold.name]}", bound
    quantity, _, unit = speed.rpartition("_")
    if speed in LEAST:
        return "Items in a second", bound
    return quantity.replace("_", " ").capitalize(), f"{bound} {UNITS[unit]}"


def missed_error(missed: list[Threshold], runtime: str, where: str) -> BlocksError:
    """The error for a budget that no runtime kept; by the one that came nearest."""
    problems = []
    for threshold in missed:
        name, bound = told(threshold)
        problems.append(f"{name} is {threshold.measured:.4g}, {bound} was asked")
    return BlocksError(
        where,
        "budget",
        f"no runtime keeps it; with {runtime}: {'; '.join(problems)}",
        "a runtime that keeps every bound on this machine",
        "take a smaller encoder, a larger machine or fewer bits (tolerance), or ask for less; "
        "MLflow has the report",
    )
