"""The difference between two models: in their variables, and in their answers."""

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

# MLflow reads this when it loads a model: without it, MLflow shows a progress bar for a few files.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
WHERE = "reproduce"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_NAMED = 5


@dataclass(frozen=True)
class ModelDifference:
    """The differences between two models.

    ``variables`` is the number of variables that both models have. ``apart`` contains the largest
    difference of each variable that differs, largest first. ``lacking`` names the variables that
    one model lacks or has in another shape. Of ``items`` that both models answered, ``agreeing``
    got the same label, and ``probability`` is the largest difference of a probability. ``items`` is
    0 without a snapshot.
    """

    variables: int
    apart: Mapping[str, float]
    lacking: tuple[str, ...]
    items: int = 0
    agreeing: int = 0
    probability: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the differences as lines of text."""
        yield f"{len(self.apart)} of {self.variables} variables differ"
        for name, largest in list(self.apart.items())[:_NAMED]:
            yield f"  {name}: by at most {largest:.2g}"
        if len(self.apart) > _NAMED:
            yield f"  and {len(self.apart) - _NAMED} more, by less"
        for name in self.lacking[:_NAMED]:
            yield f"  {name}: missing in one model, or of another shape"
        if self.items:
            yield (
                f"{self.agreeing} of {self.items} labels of the test split agree; "
                f"probabilities differ by at most {self.probability:.2g}"
            )


def model_difference(then: Path, now: Path, snapshot: Path | None) -> ModelDifference:
    """Compare two finished models.

    Args:
        then: The folder of the earlier model.
        now: The folder of the later model.
        snapshot: The snapshot whose test split both models answer, if it has a test split.

    Raises:
        BlocksError: A folder was changed after it was written.
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
    """Return the largest difference of two arrays; infinity if only one is finite somewhere."""
    if np.array_equal(one, other, equal_nan=True):
        return 0.0
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
    return largest if np.isfinite(largest) else float("inf")


def _variables(model: Path) -> dict[str, Any]:
    """Return the values of each saved floating-point variable, by its name in the model."""
    stored = tf.train.load_checkpoint(str(model / SAVED_MODEL_NAME / "variables" / "variables"))
    dtypes = stored.get_variable_to_dtype_map()
    return {
        name.removesuffix(_SUFFIX): stored.get_tensor(name)
        for name, dtype in sorted(dtypes.items())
        if name.endswith(_SUFFIX) and dtype.is_floating
    }
