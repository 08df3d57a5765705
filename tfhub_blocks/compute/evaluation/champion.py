"""The champion, which a model has to be better than: opened, and compared on the same items."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
from tfhub_blocks.records.formats.models import bare_digest, open_model
from tfhub_blocks.records.formats.snapshots import Snapshot

# The rule by which a snapshot puts an item into a split, whatever other items there are.
_BY_CONTENT = "salted-sha256"


@dataclass(frozen=True)
class Model:
    """A finished model, and the metadata that it carries."""

    folder: Folder
    metadata: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Of all its files."""
        return self.folder.digest

    def may_have_seen(self, snapshot: Snapshot) -> bool:
        """Whether items of a snapshot's test split may be among what it was trained on.

        They are not if it learned from this very snapshot, or from one that puts each item into a
        split by the same salt, and into the test split at least those that this one puts there.
        """
        if self.metadata["snapshot_digest"] == snapshot.manifest.digest:
            return False
        then = self.folder.lineage.provenance.facts.get("splits") or {}
        now = snapshot.manifest.split_rule
        if not then.get("kind") == now.get("kind") == _BY_CONTENT or then["salt"] != now["salt"]:
            return True
        return bool(then["test_fraction"] < now["test_fraction"])


def check_min_gain(min_gain: float | None, champion: str | Path | None) -> None:
    """Refuse a threshold that nothing can be held against.

    Raises:
        BlocksError: A gain is asked for, and there is no champion.
    """
    if min_gain is not None and champion is None:
        raise BlocksError(
            WHERE,
            MIN_GAIN,
            f"it is {min_gain:g}, and there is no champion to gain over",
            f"{CHAMPION_PORT}, the model in production",
            f"give {CHAMPION_PORT}, or leave {MIN_GAIN} out",
        )


def open_champion(path: Path, model: Model) -> Model:
    """The champion with every file checked, which can be compared with a model.

    Raises:
        BlocksError: It is no finished model of ours, a file was changed, or it answers with other
            labels.
    """
    try:
        champion = Model(*open_model(path, WHERE))
    except BlocksError as error:
        raise BlocksError(
            WHERE,
            CHAMPION_PORT,
            f"{path} cannot be compared with: {error.problem} ({error.where} > {error.what})",
            "a finished model of train_head, fine_tune or check_latency",
            "give the version that is in production as it was registered, or none",
        ) from error
    ours, theirs = set(model.metadata["labels"]), set(champion.metadata["labels"])
    if ours != theirs:
        told = [
            f"{who} alone knows {', '.join(map(repr, sorted(labels)))}"
            for who, labels in (("the champion", theirs - ours), ("the model", ours - theirs))
            if labels
        ]
        raise BlocksError(
            WHERE,
            CHAMPION_PORT,
            f"it answers with other labels: {'; '.join(told)}",
            "a champion with the labels of the model",
            f"leave {CHAMPION_PORT} out where the classes change, and ask for min_accuracy",
        )
    return champion


def compare(
    model: Model,
    champion: Model,
    answers: Answers,
    snapshot: Snapshot,
    resamples: int,
    progress: Callable[[int, int | None], None],
) -> ChampionComparison:
    """Ask the champion, by its own program, what the model was asked, and compare item by item.

    A champion that is the model, with or without a runtime, is not asked again: it answers alike.

    Args:
        model: The model.
        champion: The one in production, as ``open_champion`` gives it.
        answers: What the model answered on the test split of the snapshot.
        snapshot: That snapshot.
        resamples: Bootstrap resamples of items, the same for both.
        progress: Called with items done and in all.
    """
    if bare_digest(model.folder.lineage) == bare_digest(champion.folder.lineage):
        print("the champion is the model itself")
        theirs = answers.probabilities
    else:
        labels = champion.metadata["labels"]
        asked = answer_split(champion.folder.path, labels, snapshot, "test", progress)
        order = [labels.index(label) for label in answers.labels]
        theirs = asked.probabilities[:, order]
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
