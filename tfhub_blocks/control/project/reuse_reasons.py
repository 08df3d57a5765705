"""The reason why each step of a run was reused, or why it was not."""

# decision 103

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfhub_blocks.control.project.run_records import RunRecord, StepRecord


def reuse_reasons(record: RunRecord, earlier: Iterable[RunRecord]) -> dict[str, str]:
    """Return a sentence for each step of a local run.

    Args:
        record: The run.
        earlier: Other runs, the newest first.
    """
    others = list(earlier)
    return {name: _reason(name, step, others) for name, step in record.steps.items()}


def _reason(name: str, step: StepRecord, earlier: list[RunRecord]) -> str:
    if not step.parts:
        return f"not started: the step is {step.status}"
    found = [
        (run.run, run.steps[name])
        for run in earlier
        if name in run.steps and run.steps[name].component == step.component
    ]
    made = [(run, it) for run, it in found if it.parts and it.outputs]
    if step.reused:
        same = [run for run, it in made if it.parts == step.parts and not it.reused]
        source = f" of {same[0]}" if same else " of an earlier run"
        return f"reused: code, environment and inputs are those{source}"
    if not made:
        return "ran: no earlier run has a finished step of this name"
    run, other = made[0]
    if step.parts == other.parts:
        return "ran: the step is not deterministic, or reuse was switched off"
    changes = "; ".join(_changes(step, other))
    return f"ran: {changes} since {run}"


def _changes(step: StepRecord, other: StepRecord) -> Iterator[str]:
    """Yield each difference between the parts of two steps."""
    now, then = step.parts, other.parts
    for part in ("code", "environment", "command", "outputs", "variables"):
        if now.get(part) != then.get(part):
            yield f"the {part} changed"
    yield from _changed_inputs(step, now.get("inputs", {}), then.get("inputs", {}))


def _changed_inputs(
    step: StepRecord, now: Mapping[str, Any], then: Mapping[str, Any]
) -> Iterator[str]:
    for port in sorted({*now, *then}):
        if now.get(port) == then.get(port):
            continue
        source = step.inputs.get(port, {})
        if "step" in source:
            yield f"{port} from step {source['step']} changed"
        elif "path" in source:
            yield f"the content of {port} ({source['path']}) changed"
        else:
            yield f"{port} changed from {then.get(port)!r} to {now.get(port)!r}"
