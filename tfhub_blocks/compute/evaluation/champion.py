"""The champion, which is the model in production: its files, and a comparison on equal items."""

# decisions 51 and 79

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tfhub_blocks.compute.evaluation.classification_metrics import (
    ClassificationMetrics,
    differences,
    measure,
)
from tfhub_blocks.compute.evaluation.evaluation_run import WHERE, Answers, answer_split
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder
from tfhub_blocks.records.formats.champion_comparison import (
    CHAMPION_PORT,
    MIN_GAIN,
    ChampionComparison,
)
from tfhub_blocks.records.formats.models import (
    are_training_items,
    bare_digest,
    open_model,
    read_training_items,
)
from tfhub_blocks.records.formats.snapshots import Snapshot

# The rule by which a snapshot puts an item into a split, whatever other items there are.
_BY_CONTENT = "salted-sha256"


@dataclass(frozen=True)
class Model:
    """A finished model and its metadata."""

    folder: Folder
    metadata: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The digest of all files of the model."""
        return self.folder.digest

    def may_have_seen(self, snapshot: Snapshot) -> bool:
        """Return True if the model may have been trained on items of a snapshot's test split.

        The model's own record of its training items decides. Models of release 0.1 have no such
        record: return False if the model was trained on this snapshot, or on a snapshot with the
        same salt and an equal or larger test fraction. Then every item of this test split was a
        test item in training as well.
        """
        items = read_training_items(self.folder)
        if items is not None:
            index = snapshot.index()
            tested = index.filter(pc.equal(index["split"], "test"))["id"].to_pylist()
            return bool(are_training_items(items, tested).any())
        if self.metadata["snapshot_digest"] == snapshot.manifest.digest:
            return False
        then = self.folder.lineage.provenance.facts.get("splits") or {}
        now = snapshot.manifest.split_rule
        if not then.get("kind") == now.get("kind") == _BY_CONTENT or then["salt"] != now["salt"]:
            return True
        return bool(then["test_fraction"] < now["test_fraction"])


def check_unseen(model: Model, ids: Sequence[str]) -> None:
    """Check that a model did not learn from test items, whatever snapshot they come from.

    Raises:
        BlocksError: The model was trained or chosen on one or more of the items.
    """
    items = read_training_items(model.folder)
    seen = np.zeros(len(ids), bool) if items is None else are_training_items(items, ids)
    if seen.any():
        raise BlocksError(
            WHERE,
            "snapshot",
            f"the model learned from {int(seen.sum())} of the {len(ids)} test items, such as "
            f"{ids[int(seen.argmax())]}",
            "test items that are new to the model",
            "Pass the snapshot that the model was trained on, or take a snapshot with that one as "
            "previous, and train the model again",
        )


def check_min_gain(min_gain: float | None, champion: str | Path | None) -> None:
    """Check that a required gain comes with a champion.

    Raises:
        BlocksError: A gain is required, but no champion is passed.
    """
    if min_gain is not None and champion is None:
        raise BlocksError(
            WHERE,
            MIN_GAIN,
            f"a gain of {min_gain:g} is required, but the input {CHAMPION_PORT} is missing",
            "the model in production as champion",
            f"Pass {CHAMPION_PORT}, or leave {MIN_GAIN} out",
        )


def open_champion(path: Path, model: Model) -> Model:
    """Open the champion for a comparison with a model, and check each of its files.

    Raises:
        BlocksError: The champion is no finished model of tfhub-blocks, a file was changed, or its
            labels differ from those of the model.
    """
    try:
        champion = Model(*open_model(path, WHERE))
    except BlocksError as error:
        raise BlocksError(
            WHERE,
            CHAMPION_PORT,
            f"{path} cannot be opened: {error.problem} ({error.where} > {error.what})",
            "a finished model of train_head, fine_tune or check_latency",
            f"Pass the registered version that is in production, or leave {CHAMPION_PORT} out",
        ) from error
    ours, theirs = set(model.metadata["labels"]), set(champion.metadata["labels"])
    if ours != theirs:
        differences = [
            f"only {which} has {', '.join(map(repr, sorted(labels)))}"
            for which, labels in (("the champion", theirs - ours), ("the model", ours - theirs))
            if labels
        ]
        raise BlocksError(
            WHERE,
            CHAMPION_PORT,
            f"champion and model have different labels: {'; '.join(differences)}",
            "a champion with the labels of the model",
            f"If the classes have changed, leave {CHAMPION_PORT} out and set min_accuracy",
        )
    return champion


def compare(
    model: Model,
    champion: Model,
    answers: Answers,
    snapshot: Snapshot,
    resamples: int,
    progress: Callable[[int, int | None], None],
    kept: NDArray[np.bool_] | None = None,
) -> ChampionComparison:
    """Run the champion's own program on the items of the model, and compare item by item.

    If the champion is the model itself, with or without a runtime, its answers are taken from the
    model.

    Args:
        model: The model.
        champion: The champion, from ``open_champion``.
        answers: The model's answers on the test split of the snapshot.
        snapshot: The snapshot.
        resamples: Bootstrap resamples of items, the same for both models.
        progress: Called with the number of items done, and their total.
        kept: True for each item to compare on; all items if left out.
    """
    if bare_digest(model.folder.lineage) == bare_digest(champion.folder.lineage):
        print("the champion is the model itself")
        theirs = answers.probabilities
    else:
        labels = champion.metadata["labels"]
        asked = answer_split(champion.folder.path, labels, snapshot, "test", progress)
        order = [labels.index(label) for label in answers.labels]
        theirs = asked.probabilities[:, order]
    if kept is not None:
        answers, theirs = answers.taken(kept), theirs[kept]
    given = (answers.targets, answers.labels, resamples)
    metrics: ClassificationMetrics = measure(theirs, *given)
    ours_right, theirs_right = (_hits(it, answers) for it in (answers.probabilities, theirs))
    changes = differences(answers.probabilities, theirs, *given)
    return ChampionComparison(
        champion=champion.digest,
        snapshot=snapshot.manifest.digest,
        training_snapshot=champion.metadata["snapshot_digest"],
        items=metrics.items,
        only_model_right=int((ours_right & ~theirs_right).sum()),
        only_champion_right=int((~ours_right & theirs_right).sum()),
        metrics=metrics.summary(),
        changes={name: change.as_dict() for name, change in changes.items()},
        may_have_seen=tuple(
            who
            for who, it in (("model", model), (CHAMPION_PORT, champion))
            if it.may_have_seen(snapshot)
        ),
    )


def _hits(probabilities: NDArray[np.floating], answers: Answers) -> NDArray[np.bool_]:
    hits: NDArray[np.bool_] = probabilities.argmax(axis=1) == answers.targets
    return hits
