"""Budgets: the required speeds of a model, and their comparison with measurements."""

from collections.abc import Mapping
from dataclasses import fields, replace

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.evidence import Threshold
from tfhub_blocks.records.formats.runtimes import Speeds
from tfhub_blocks.records.pins.pins import Decisions

# For these speeds the budget is a minimum; for all others, a maximum.
LEAST = ("items_per_s",)
UNITS = {"ms": "ms", "s": "s", "mb": "MB"}

FROM_OWN = "max_difference_from_own"
FROM_EVALUATION = "max_difference_from_evaluation"
"""The thresholds on served answers: differences from the reference runtime and ``evaluate``."""
FLOAT32_TOLERANCE = 1e-5
"""The limit of float32's difference from ``evaluate``, also if the tolerance is larger."""
REFERENCES = {FROM_OWN: "the reference runtime", FROM_EVALUATION: "evaluate"}


def with_decided(asked: Speeds, decisions: Decisions | None) -> Speeds:
    """Return the budget with p99 limited to the latency budget of the pin, if the pin has one."""
    decided_ms = decisions.latency_budget_ms if decisions else None
    if decided_ms is None:
        return asked
    return replace(asked, p99_ms=min(decided_ms, asked.p99_ms or decided_ms))


def hold_budget(budget: Speeds, measured: Speeds) -> tuple[Threshold, ...]:
    """Compare measurements with a budget, and return a threshold for each required speed.

    Names are such as ``max_p99_ms`` and ``min_items_per_s``.
    """
    thresholds = []
    for field in fields(Speeds):
        asked, value = getattr(budget, field.name), getattr(measured, field.name)
        if asked is None:
            continue
        least = field.name in LEAST
        met = value >= asked if least else value <= asked
        thresholds.append(Threshold(threshold_name(field.name), asked, value, met))
    return tuple(thresholds)


def hold_differences(
    differences: Mapping[str, float], tolerance: float, precision: str
) -> tuple[Threshold, ...]:
    """Compare differences with the tolerance, and return a threshold for each reference."""
    thresholds = []
    for name, value in differences.items():
        strict = name == FROM_EVALUATION and precision == "float32"
        most = min(tolerance, FLOAT32_TOLERANCE) if strict else tolerance
        thresholds.append(Threshold(name, most, value, value <= most))
    return tuple(thresholds)


def threshold_name(speed: str) -> str:
    """Return the name of the threshold on a speed."""
    return f"{'min' if speed in LEAST else 'max'}_{speed}"


def told(threshold: Threshold) -> tuple[str, str]:
    """Return a threshold's name and bound, for users."""
    kind, _, speed = threshold.name.partition("_")
    bound = f"at {'least' if kind == 'min' else 'most'} {threshold.asked:g}"
    if threshold.name in REFERENCES:
        return f"Difference from {REFERENCES[threshold.name]}", bound
    quantity, _, unit = speed.rpartition("_")
    if speed in LEAST:
        return "Items per second", bound
    return quantity.replace("_", " ").capitalize(), f"{bound} {UNITS[unit]}"


def missed_error(missed: list[Threshold], runtime: str, where: str) -> BlocksError:
    """Return the error for a budget that no runtime meets, with the nearest runtime."""
    problems = []
    for threshold in missed:
        name, bound = told(threshold)
        problems.append(f"{name}: {threshold.measured:.4g}, required {bound}")
    return BlocksError(
        where,
        "budget",
        f"no runtime meets the budget on this machine; the nearest is {runtime} "
        f"({'; '.join(problems)})",
        "",
        "Use a smaller encoder or a larger machine, raise tolerance to allow fewer bits, or relax "
        "the budget. MLflow has the report",
    )
