"""Earlier features: what an extraction need not compute again."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.features import Features, vectors_of

WHERE = "extract_features"


def ids_of(column: pa.StringArray) -> NDArray[np.bytes_]:
    """Ids as an array that can be compared and searched."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype="S64")


class EarlierFeatures:
    """Features of earlier items, asked for in rising order of ids; a few batches are held."""

    def __init__(self, features: Features | None, with_vectors: bool = True) -> None:
        columns = ["id", "vector"] if with_vectors else ["id"]
        self._batches = features.batches(columns) if features else iter(())
        self._ids = np.empty(0, "S64")
        self._vectors: NDArray[np.floating] = np.empty((0, 0), np.float32)
        self._last = b""

    def find(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
        """Which of some ids are known, [n], and the vectors of those, [known, dimension].

        Args:
            ids: One or more, rising, all above those of the call before.

        Raises:
            BlocksError: The earlier features do not rise by id, so one of them is there twice.
        """
        while not len(self._ids) or self._ids[-1] < ids[-1]:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._append(batch)
        places = np.searchsorted(self._ids, ids)
        inside = places < len(self._ids)
        known = np.zeros(len(ids), bool)
        known[inside] = self._ids[places[inside]] == ids[inside]
        vectors = self._vectors[places[known]]
        passed = int(np.searchsorted(self._ids, ids[-1], "right"))
        self._ids, self._vectors = self._ids[passed:], self._vectors[passed:]
        return known, vectors

    def _append(self, batch: pa.RecordBatch) -> None:
        ids = ids_of(batch["id"])
        check_rising(ids, self._last, "previous_features")
        has_vectors = "vector" in batch.schema.names
        vectors = vectors_of(batch["vector"]) if has_vectors else np.empty((len(ids), 0))
        rest = len(self._ids)
        self._last = ids[-1]
        self._ids = np.concatenate([self._ids, ids]) if rest else ids
        self._vectors = np.concatenate([self._vectors, vectors]) if rest else vectors


def check_rising(ids: NDArray[np.bytes_], last: bytes, what: str) -> None:
    """Check that ids rise, also from the last one of the batch before.

    Raises:
        BlocksError: One does not.
    """
    before = np.concatenate([np.array([last], "S64"), ids[:-1]])
    wrong = np.flatnonzero(ids <= before)
    if wrong.size:
        item, other = ids[wrong[0]], before[wrong[0]]
        raise BlocksError(
            WHERE,
            what,
            f"item {item.decode()} is {'there twice' if item == other else 'out of order'}",
            "each item once, in order of the ids",
            "make this folder again with the step that made it",
        )
