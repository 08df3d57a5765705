"""The outputs of both builds side by side: their digests, and the size of each difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfhub_blocks.control.lineage.recorded_output import Output, read_output
from tfhub_blocks.control.project.run_records import RunRecord
from tfhub_blocks.control.reproduction.reproduction_plan import RecordedOutput, ReproductionPlan
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.features import (
    ACTIVATIONS,
    FEATURES,
    ids_of,
    open_features,
    vectors_of,
)
from tfhub_blocks.records.formats.models import SAVED_MODEL_NAME
from tfhub_blocks.records.formats.snapshots import open_snapshot

_NAMED = 3


@dataclass(frozen=True)
class ReproducedOutput:
    """An output of a step: its digests in both builds, and their difference in words.

    ``before`` and ``after`` are the paths; None for an output that is missing or was not rebuilt.
    """

    step: str
    port: str
    kind: str
    recorded: str
    rebuilt: str
    difference: str = ""
    before: Path | None = None
    after: Path | None = None

    @property
    def is_equal(self) -> bool:
        """True if both outputs are equal, bit by bit."""
        return bool(self.recorded) and self.recorded == self.rebuilt

    def as_dict(self) -> dict[str, str | bool]:
        """Return the row as JSON-ready values."""
        return {
            "step": self.step,
            "port": self.port,
            "kind": self.kind,
            "recorded": self.recorded,
            "rebuilt": self.rebuilt,
            "equal": self.is_equal,
            "difference": self.difference,
        }


def compare(
    plan: ReproductionPlan, record: RunRecord
) -> tuple[list[ReproducedOutput], dict[str, Provenance]]:
    """Compare each output of a plan with that of a run; return the rows and the new provenance."""
    rows, provenances = [], {}
    for work in plan.works.values():
        outputs = record.steps[work.name].outputs
        for port, then in work.recorded.items():
            path = Path(outputs[port]) if port in outputs else None
            now = read_output(path) if path else None
            if now and now.lineage:
                provenances[work.name] = now.lineage.provenance
            rows.append(_row(work.name, port, then, now))
    return rows, provenances


def _row(step: str, port: str, recorded: RecordedOutput, now: Output | None) -> ReproducedOutput:
    then, difference = recorded.output, ""
    known = now or then
    if now is None:
        difference = "the output was not rebuilt"
    elif then and then.digest != now.digest:
        difference = how_far_apart(then, now)
    elif not recorded.digest:
        difference = "no record contains the first digest"
    elif recorded.digest != now.digest:
        difference = "the first output was not found locally, so it cannot be compared"
    return ReproducedOutput(
        step=step,
        port=port,
        kind=known.kind if known else port,
        recorded=recorded.digest,
        rebuilt=now.digest if now else "",
        difference=difference,
        before=then.path if then else None,
        after=now.path if now else None,
    )


def how_far_apart(then: Output, now: Output) -> str:
    """Describe how two outputs of one kind differ: by their content, or else by their files."""
    try:
        if then.kind in (FEATURES.kind, ACTIVATIONS.kind):
            return _vectors_apart(then, now)
        if then.kind == "snapshot":
            return _items_apart(then.path, now.path)
    except (BlocksError, OSError, ValueError, KeyError, TypeError) as error:
        return str(error)
    return files_apart(*(it.lineage.files if it.lineage else {} for it in (then, now)))


def files_apart(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return the first files that differ between two folders, and the number of the others."""
    changed = sorted(n for n in then.keys() | now.keys() if then.get(n) != now.get(n))
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return f"{', '.join(changed[:_NAMED])}{more}" if changed else "another file"


def has_variables(row: ReproducedOutput) -> bool:
    """Return True if both models of a row were saved with variables that can be compared."""
    models = [it for it in (row.before, row.after) if it]
    index = f"{SAVED_MODEL_NAME}/variables/variables.index"
    return len(models) == 2 and all((it / index).is_file() for it in models)


def _vectors_apart(then: Output, now: Output) -> str:
    expected = FEATURES if then.kind == FEATURES.kind else ACTIVATIONS
    folders = [open_features(it.path, "reproduce", expected) for it in (then, now)]
    manifests = [it.manifest for it in folders]
    shapes = [f"{it.items} of {it.dimension} by {it.engine}" for it in manifests]
    if shapes[0] != shapes[1]:
        return f"{shapes[0]} were {expected.kind}, now {shapes[1]}"
    largest = longest = 0.0
    differing = 0
    columns = ["id", "vector"]
    for before, after in zip(*(it.batches(columns) for it in folders), strict=True):
        if not np.array_equal(ids_of(before["id"]), ids_of(after["id"])):
            return "the vectors are of other items"
        one, other = (vectors_of(it["vector"]).astype(np.float64) for it in (before, after))
        apart = np.abs(one - other)
        largest = max(largest, float(apart.max(initial=0.0)))
        longest = max(longest, float(np.abs(one).max(initial=0.0)))
        differing += int(apart.any(axis=1).sum())
    return (
        f"{differing} of {manifests[0].items} vectors differ, by {largest:.2g} at most; "
        f"the largest number in them is {longest:.2g}"
    )


def _items_apart(then: Path, now: Path) -> str:
    one, other = (open_snapshot(path, "reproduce") for path in (then, now))
    if one.manifest.digest == other.manifest.digest:
        return "the same items with the same labels and splits; other files of the snapshot differ"
    ids = [set(it.index()["id"].to_pylist()) for it in (one, other)]
    gone, new = len(ids[0] - ids[1]), len(ids[1] - ids[0])
    if gone or new:
        return f"{gone} items are gone, {new} are new"
    return "the same items, with other labels or splits"
