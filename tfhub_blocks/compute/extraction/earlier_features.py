"""Earlier features, which an extraction does not need to compute again."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.records.formats.features import Features, check_rising, ids_of, vectors_of

WHERE = "previous_features"


class EarlierFeatures:
    """Earlier features, looked up in rising order of ids; memory contains a few batches."""

    def __init__(self, features: Features | None, with_vectors: bool = True) -> None:
        columns = ["id", "vector"] if with_vectors else ["id"]
        self._batches = features.batches(columns) if features else iter(())
        self._ids = np.empty(0, "S64")
        self._vectors: NDArray[np.floating] = np.empty((0, 0), np.float32)
        self._last = b""

    def find(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
        """Return True for each known id, [n], and the vectors of the known ids, [known, dimension].

        Args:
            ids: One or more ids in rising order, all above the ids of the previous call.

        Raises:
            BlocksError: The earlier features are not in rising order, so an id is repeated.
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
        self._last = check_rising(ids, self._last, WHERE)
        has_vectors = "vector" in batch.schema.names
        vectors = vectors_of(batch["vector"]) if has_vectors else np.empty((len(ids), 0))
        rest = len(self._ids)
        self._ids = np.concatenate([self._ids, ids]) if rest else ids
        self._vectors = np.concatenate([self._vectors, vectors]) if rest else vectors
