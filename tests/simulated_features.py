"""Features such as an encoder's, without an encoder: correlated, of unequal scales and classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.base.shards import ShardWriter
from tfhub_blocks.records.formats.features import (
    FEATURES,
    FeatureManifest,
    features_schema,
    vector_column,
)

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
SPLITS = np.array(["train", "validation", "test"])
ROWS = 1024


@dataclass(frozen=True)
class World:
    """Where vectors come from: rectified, as after the last activation of an image encoder."""

    dim: int
    classes: int
    distance: float = 0.5  # of the classes' centres, in latent deviations
    seed: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"class {index:03d}" for index in range(self.classes))

    def batches(
        self, items: int, rows: int = ROWS
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Vectors float32 [rows, dim], targets, and splits 0, 1, 2 (shares 0.9, 0.05, 0.05)."""
        world = np.random.default_rng(self.seed)
        rank = min(64, self.dim)
        centres = self.distance * world.normal(size=(self.classes, rank)).astype(np.float32)
        mixing = world.normal(size=(rank, self.dim)) / np.arange(1, rank + 1)[:, None] ** 0.5
        spread = 10 ** world.uniform(-1, 1, self.dim)
        mixing, spread = mixing.astype(np.float32), spread.astype(np.float32)
        shares = np.linspace(1, 2, self.classes)
        for start in range(0, items, rows):
            random = np.random.default_rng([self.seed, start])
            count = min(rows, items - start)
            targets = random.choice(self.classes, count, p=shares / shares.sum())
            latent = random.standard_normal((count, rank), np.float32) + centres[targets]
            vectors = latent @ mixing + random.standard_normal((count, self.dim), np.float32)
            vectors = np.maximum(vectors + 0.5, 0) * spread
            yield vectors, targets, random.choice(3, count, p=[0.9, 0.05, 0.05])


def write_features(
    folder: Path,
    items: int,
    world: World,
    dtype: type = np.float32,
    shard_bytes: int = 128 * 2**20,
    ids: list[str] | None = None,
) -> Path:
    """A features folder as extract_features makes it, without keeping it in memory."""
    partial = begin_folder(folder, PROVENANCE)
    schema = features_schema(world.dim, np.dtype(dtype).name)
    with ShardWriter(partial, schema, shard_bytes) as writer:
        for vectors, targets, splits in world.batches(items):
            first = writer.rows
            names = (ids or [])[first : first + len(targets)] or [
                f"{row:064d}" for row in range(first, first + len(targets))
            ]
            columns = [
                pa.array(names),
                pa.array(np.array(world.labels)[targets]),
                pa.array(SPLITS[splits]),
                vector_column(vectors.astype(dtype)),
            ]
            writer.write(pa.record_batch(columns, schema=schema))
    FeatureManifest(
        items=writer.rows,
        dimension=world.dim,
        labels=world.labels,
        snapshot_digest="1" * 64,
        encoder_digest="2" * 64,
        preprocessing={},
        engine="tensorflow/cpu",
        precision="float32",
        dtype=np.dtype(dtype).name,
        shards=tuple(writer.names),
    ).write(partial)
    finish_folder(folder, "features", FEATURES, PROVENANCE)
    return folder
