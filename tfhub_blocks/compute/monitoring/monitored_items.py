"""The items of a monitoring: training and held-out items of the model, new items, earlier looks.

All features are rounded to float16 before they are compared, because predictions store them so; the
probabilities of all items follow from the rounded features by the model's head.
"""

# decisions 90 and 93

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.monitoring.drift_map import WHERE, DriftMap
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder, open_folder
from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.base.parquet_bounds import MAX_TABLE_BYTES, read_groups
from tfhub_blocks.records.formats.drift_records import (
    LOOKS_NAME,
    MAP_NAME,
    MONITORING,
    RECORD_NAME,
    Look,
    read_drift,
)
from tfhub_blocks.records.formats.features import FEATURES, Features, open_features, vectors_of
from tfhub_blocks.records.formats.models import bare_digest
from tfhub_blocks.records.formats.predictions import FORMAT as PREDICTIONS
from tfhub_blocks.records.formats.predictions import open_predictions

LEAST_REFERENCE, LEAST_ITEMS = 30, 10
_LOOKS = pa.schema(
    [
        pa.field("look", pa.int32()),
        pa.field("id", pa.string()),
        pa.field("whitened", pa.list_(pa.float32())),
        pa.field("scores", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True, eq=False)
class Items:
    """Some items: ids, paths (empty if unknown), features [n, dim], probabilities [n, classes]."""

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    vectors: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.integer]) -> "Items":
        """Return some rows."""
        chosen = rows.tolist()
        return Items(
            tuple(self.ids[row] for row in chosen),
            tuple(self.paths[row] for row in chosen),
            self.vectors[rows],
            self.scores[rows],
        )


@dataclass(frozen=True, eq=False)
class History:
    """The looks before this one, with the numbers of their items, and the map that gave them."""

    looks: tuple[Look, ...]
    number: NDArray[np.int32]  # [items], the look of each item
    ids: NDArray[np.str_]  # [items]
    whitened: NDArray[np.float32]
    scores: NDArray[np.float32]
    map: DriftMap | None

    def without_last(self) -> "History":
        """Return the looks before the last one."""
        kept = self.number < len(self.looks) - 1
        return History(
            self.looks[:-1],
            self.number[kept],
            self.ids[kept],
            self.whitened[kept],
            self.scores[kept],
            self.map,
        )


def rounded(vectors: NDArray[np.floating], head: Head) -> tuple[Any, Any]:
    """Return features rounded to float16, and the head's probabilities for them, both float32."""
    features = vectors.astype(np.float16).astype(np.float32)
    return features, head.probabilities(features).astype(np.float32)


def check_model(model: Folder, features: Features, metadata: Mapping[str, Any]) -> None:
    """Check by lineage that a model was trained on features.

    Raises:
        BlocksError: The model has no lineage of that kind, or was trained on others.
    """
    material = model.lineage.material("features")
    if material is None:
        raise BlocksError(
            WHERE,
            "model",
            f"the lineage of the model names no features (it is from {_step(model)})",
            "a model that train_head trained on features",
            "Pass a model of train_head",
        )
    found = features.folder.digest
    if material.digest != found or metadata["encoder_digest"] != features.manifest.encoder_digest:
        raise BlocksError(
            WHERE,
            "features",
            f"the model was trained on the features with digest {material.digest}, not {found}",
            "the features that train_head got",
            "Pass the features of the model's own training run",
        )


def _step(model: Folder) -> str:
    return f"step {model.lineage.provenance.step}"


def held_out(features: Features, head: Head) -> tuple[Items, NDArray[np.int64]]:
    """Return the validation and test items with their labels; the model was not trained on them.

    Raises:
        BlocksError: There are too few.
    """
    parts = [features.split(name) for name in ("validation", "test")]
    vectors = np.concatenate([np.asarray(part[0], np.float32) for part in parts])
    targets = np.concatenate([part[1] for part in parts])
    ids = tuple(item for part in parts for item in part[2])
    if len(ids) < LEAST_REFERENCE:
        raise BlocksError(
            WHERE,
            "features",
            f"the validation and test splits have {len(ids)} items together",
            f"at least {LEAST_REFERENCE} items that the model was not trained on",
            "Take a snapshot with larger validation_fraction and test_fraction, and train again",
        )
    return Items(ids, ("",) * len(ids), *rounded(vectors, head)), targets


def training(features: Features, head: Head) -> Items:
    """Return the training items."""
    vectors, _, ids = features.split("train")
    found = tuple(ids)
    return Items(found, ("",) * len(found), *rounded(np.asarray(vectors, np.float32), head))


def open_current(path: Path, model: Folder, features: Features, head: Head) -> tuple[Items, str]:
    """Return the new items of a folder of features or predictions, and the time of the folder.

    Of equal contents, one is kept.

    Raises:
        BlocksError: The folder has other contents or no features, another encoder or model computed
            them, or a feature is not finite.
    """
    kind = read_lineage(path).format
    if kind == str(PREDICTIONS):
        found, folder = _of_predictions(path, model, head)
    elif kind == str(FEATURES):
        found, folder = _of_features(path, features, head)
    else:
        raise BlocksError(
            WHERE,
            "current",
            f"the folder has format {kind}",
            f"{FEATURES} or {PREDICTIONS}",
            "Pass an output of extract_features, or of score_batch with keep_features=true",
        )
    if found.vectors.shape[1:] != features_shape(features):
        raise BlocksError(
            WHERE,
            "current",
            f"the items have {found.vectors.shape[1]} features",
            f"{features.manifest.dimension} features, as the training items have",
            "Pass items of the encoder of the model",
        )
    finite = np.isfinite(found.vectors).all(axis=1)
    if not finite.all():
        raise BlocksError(
            WHERE,
            f"item {found.ids[int(finite.argmin())]}",
            "the item has features that are NaN or infinite",
            "",
            "Remove the item, and score or extract the others again",
        )
    _, firsts = np.unique(np.array(found.ids, "S64"), return_index=True)
    return found.take(np.sort(firsts)), folder.lineage.provenance.finished


def features_shape(features: Features) -> tuple[int]:
    """Return the shape of one item's features."""
    return (features.manifest.dimension,)


def _of_features(path: Path, features: Features, head: Head) -> tuple[Items, Folder]:
    current = open_features(path, WHERE)
    ours, theirs = features.manifest, current.manifest
    current.check_encoder(ours.encoder_digest, WHERE)
    if ours.preprocessing != theirs.preprocessing:
        raise BlocksError(
            WHERE,
            "current",
            "the items were decoded or resized in another way than the training items",
            f"preprocessing {dict(ours.preprocessing)}",
            "Extract the features of the items with this version of tfhub-blocks and this encoder",
        )
    ids, blocks = [], [np.empty((0, theirs.dimension), np.float32)]
    for batch in current.batches(["id", "vector"]):
        ids += batch["id"].to_pylist()
        blocks.append(vectors_of(batch["vector"]).astype(np.float32))
    vectors, scores = rounded(np.concatenate(blocks), head)
    return Items(tuple(ids), ("",) * len(ids), vectors, scores), current.folder


def _of_predictions(path: Path, model: Folder, head: Head) -> tuple[Items, Folder]:
    current = open_predictions(path, WHERE)
    made = current.manifest
    if made.model_digest not in (model.digest, bare_digest(model.lineage)):
        raise BlocksError(
            WHERE,
            "current",
            f"the model with digest {made.model_digest} made the predictions",
            f"predictions of the model with digest {model.digest}",
            "Score the items with the model that is monitored",
        )
    if not made.dimension:
        raise BlocksError(
            WHERE,
            "current",
            "the predictions contain no features",
            "predictions with the column vector",
            "Run score_batch with keep_features=true",
        )
    ids, paths, blocks = [], [], [np.empty((0, made.dimension), np.float16)]
    for batch in current.batches(["id", "path", "error", "vector"]):
        answered = batch.filter(batch["error"].is_null())
        ids += answered["id"].to_pylist()
        paths += answered["path"].to_pylist()
        flat = answered["vector"].flatten().to_numpy(zero_copy_only=False)
        blocks.append(flat.reshape(-1, made.dimension))
    vectors, scores = rounded(np.concatenate(blocks), head)
    return Items(tuple(ids), tuple(paths), vectors, scores), current.folder


def items_digest(items: Items) -> str:
    """Return the digest of the contents, whatever their order."""
    return record_digest({"items": sorted(items.ids)})


def open_history(path: Path | None, model_digest: str) -> History:
    """Return the looks of an earlier monitoring of the same model, or none.

    Raises:
        BlocksError: The folder is no monitoring, a file was changed, or another model was
            monitored.
    """
    if path is None:
        none = np.empty((0, 0), np.float32)
        return History((), np.empty(0, np.int32), np.empty(0, np.str_), none, none, None)
    folder = open_folder(path, MONITORING, WHERE)
    record = read_drift(folder.file(RECORD_NAME), WHERE)
    if record.model_digest != model_digest:
        raise BlocksError(
            WHERE,
            "earlier",
            f"the model with digest {record.model_digest} was monitored",
            f"a monitoring of the model with digest {model_digest}",
            "Pass the last monitoring of this model, or leave earlier out after a new training",
        )
    groups = read_groups(folder.file(LOOKS_NAME), _LOOKS.names, MAX_TABLE_BYTES)
    table = pa.concat_tables([_LOOKS.empty_table(), *(it.cast(_LOOKS) for it in groups)])
    with np.load(folder.file(MAP_NAME), allow_pickle=False) as stored:
        drift_map = DriftMap(**{name: stored[name] for name in stored.files})
    return History(
        record.looks,
        table["look"].to_numpy(),
        np.array(table["id"].to_pylist(), np.str_),
        _matrix(table["whitened"], len(table)),
        _matrix(table["scores"], len(table)),
        drift_map,
    )


def _matrix(column: pa.ChunkedArray, rows: int) -> NDArray[np.float32]:
    flat: NDArray[np.float32] = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(rows, -1)


def write_history(
    folder: Path, before: History, items: Items, whitened: NDArray[np.float32], used: DriftMap
) -> None:
    """Write the numbers of the items of all looks, and the map, for the next monitoring."""
    number = np.concatenate([before.number, np.full(len(items), len(before.looks), np.int32)])
    columns = [
        pa.array(number),
        pa.array([*before.ids.tolist(), *items.ids], pa.string()),
        *(
            pa.array([*old, *new], pa.list_(pa.float32()))
            for old, new in ((before.whitened, whitened), (before.scores, items.scores))
        ),
    ]
    pq.write_table(pa.table(columns, schema=_LOOKS), folder / LOOKS_NAME)
    names = ("mean", "axes", "frequencies", "phases", "classes", "steps")
    with (folder / MAP_NAME).open("wb") as file:
        np.savez(file, **{name: getattr(used, name) for name in names})


def new_items(
    found: Items, known: set[str], history: History, time: str
) -> tuple[Items, History, str, str]:
    """Return the items that are compared, the looks before, the items' digest and their time.

    Items of the training data and of earlier looks are left out, because they are not new. If the
    last look had the same items, it is taken back and repeated, with the time that it had.

    Raises:
        BlocksError: Too few items are left, or the items are older than those of the last look.
    """
    before = history.without_last() if history.looks else history
    if history.looks:
        last = set(history.ids[history.number == len(history.looks) - 1].tolist())
        if set(found.ids) - known - set(before.ids.tolist()) == last:
            time, history = history.looks[-1].time, before
    seen = known | set(history.ids.tolist())
    new = found.take(np.flatnonzero([item not in seen for item in found.ids]))
    if history.looks and time < history.looks[-1].time:
        raise BlocksError(
            WHERE,
            "current",
            f"the items are from {time}, before those of the last look",
            f"items from {history.looks[-1].time} or later",
            "Check the clock of the machine, or pass the items in the order of their times",
        )
    if len(new) < LEAST_ITEMS:
        raise BlocksError(
            WHERE,
            "current",
            f"{len(new)} of {len(found)} items are new",
            f"at least {LEAST_ITEMS} items that are neither training items nor in an earlier look",
            "Collect more items, and run the step again",
        )
    return new, history, items_digest(new), time
