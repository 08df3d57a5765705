"""How far two models are apart: variable by variable, and in what they answer."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.evaluation.evaluation_run import answer_split
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.formats.models import SAVED_MODEL_NAME, open_model
from tfhub_blocks.records.formats.snapshots import open_snapshot

# Read when MLflow loads a model: no bar for each of a few files beside what is told here.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
WHERE = "reproduce"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_NAMED = 5


@dataclass(frozen=True)
class ModelDifference:
    """What differs between two models.

    ``variables`` is how many both have; ``apart`` gives the largest difference of each that
    differs, the farthest first, and ``lacking`` names those that one of the two lacks or has in
    another shape. Of ``items`` that both were asked, ``agreeing`` got the same label;
    ``probability`` is the largest difference of one. None were asked without a snapshot.
    """

    variables: int
    apart: Mapping[str, float]
    lacking: tuple[str, ...]
    items: int = 0
    agreeing: int = 0
    probability: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """In words."""
        yield f"{len(self.apart)} of {self.variables} variables differ"
        for name, largest in list(self.apart.items())[:_NAMED]:
            yield f"  {name}: by {largest:.2g} at most"
        if len(self.apart) > _NAMED:
            yield f"  and {len(self.apart) - _NAMED} more, by less"
        for name in self.lacking[:_NAMED]:
            yield f"  {name}: only one has it, or in another shape"
        if self.items:
            yield (
                f"{self.agreeing} of {self.items} labels of the test split agree; "
                f"probabilities differ by {self.probability:.2g} at most"
            )


def model_difference(then: Path, now: Path, snapshot: Path | None) -> ModelDifference:
    """How far two finished models are apart.

    Args:
        then: One.
        now: The other.
        snapshot: Whose test split both are asked, if it has one.

    Raises:
        BlocksError: A folder was changed after it was made.
    """
    opened = [open_model(path, WHERE) for path in (then, now)]
    values = [_variables(folder.path) for folder, _ in opened]
    both = [
        name
        for name in values[0]
        if name in values[1] and values[0][name].shape == values[1][name].shape
    ]
    apart = {name: _largest(values[0][name], values[1][name]) for name in both}
    differing = {name: by for name, by in apart.items() if by != 0}
    found = ModelDifference(
        variables=len(both),
        apart=dict(sorted(differing.items(), key=lambda item: -item[1])),
        lacking=tuple(sorted((values[0].keys() | values[1].keys()) - set(both))),
    )
    if snapshot is None:
        return found
    items, labels = open_snapshot(snapshot, WHERE), opened[0][1]["labels"]
    if not sum(items.manifest.counts.get("test", {}).values()):
        return found
    answers = [
        answer_split(folder.path, labels, items, "test", lambda *_: None).probabilities
        for folder, metadata in opened
        if metadata["labels"] == labels
    ]
    if len(answers) < 2:
        return found
    agreeing = int((answers[0].argmax(1) == answers[1].argmax(1)).sum())
    return replace(found, items=len(answers[0]), agreeing=agreeing, probability=_largest(*answers))


def _largest(one: Any, other: Any) -> float:
    """The largest difference between two arrays; infinite where only one has a number."""
    if np.array_equal(one, other, equal_nan=True):
        return 0.0
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
    return largest if np.isfinite(largest) else float("inf")


def _variables(model: Path) -> dict[str, Any]:
    """The numbers of each variable that a model was saved with, by its place in the model."""
    stored = tf.train.load_checkpoint(str(model / SAVED_MODEL_NAME / "variables" / "variables"))
    dtypes = stored.get_variable_to_dtype_map()
    return {
        name.removesuffix(_SUFFIX): stored.get_tensor(name)
        for name, dtype in sorted(dtypes.items())
        if name.endswith(_SUFFIX) and dtype.is_floating
    }
