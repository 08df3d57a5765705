"""Features: parts that were computed and earlier features, put together in the snapshot's order."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.compute.earlier import EarlierFeatures
from tfhub_blocks.compute.extraction import Extraction, Share
from tfhub_blocks.compute.plans import Plan
from tfhub_blocks.records.features import Manifest, features_schema, ids_of, vector_column
from tfhub_blocks.records.shards import ShardWriter

# Rows of one Arrow batch.
ROWS_PER_WRITE = 1024


def write_features(
    extraction: Extraction,
    plan: Plan,
    share: Share,
    folder: Path,
    progress: Callable[[int, int], None],
) -> Manifest:
    """Write the features of all items of an extraction's snapshot; give their manifest.

    The first worker does this; it waits for the parts of others.

    Args:
        extraction: Of all splits.
        plan: What its workers go by.
        share: That of the first worker.
        folder: The empty folder to fill.
        progress: Called with items computed, by all workers, and items to compute.
    """
    earlier = EarlierFeatures(extraction.reusable(plan.kind)[0])
    fresh = _fresh(extraction, plan, share, progress)
    source, snapshot = extraction.encoder, extraction.snapshot
    dtype = extraction.options.dtype
    schema, index = features_schema(source.dimension, dtype), snapshot.index()
    with ShardWriter(folder, schema) as writer:
        for start in range(0, index.num_rows, ROWS_PER_WRITE):
            (rows,) = index.slice(start, ROWS_PER_WRITE).combine_chunks().to_batches()
            vectors = np.empty((rows.num_rows, source.dimension), dtype)
            known, found = earlier.find(ids_of(rows["id"]))
            if known.any():
                vectors[known] = found
            for row in np.flatnonzero(~known):
                item, vectors[row] = next(fresh)
                if item != rows["id"][int(row)].as_py():
                    raise RuntimeError(f"part of {item} where {rows['id'][int(row)]} belongs")
            columns = [*rows.columns, vector_column(vectors)]
            writer.write(pa.record_batch(columns, schema=schema))
    manifest = Manifest(
        items=writer.rows,
        dimension=source.dimension,
        labels=snapshot.manifest.labels,
        snapshot_digest=snapshot.manifest.digest,
        encoder_digest=source.digest,
        preprocessing=source.describe(),
        engine=plan.kind,
        precision=extraction.options.precision,
        dtype=dtype,
        shards=tuple(writer.names),
    )
    manifest.write(folder)
    return manifest


def _fresh(
    extraction: Extraction, plan: Plan, share: Share, progress: Callable[[int, int], None]
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Ids and vectors of what was computed, by whichever worker, in order."""
    parts = extraction.parts(share)

    def on_wait(there: int) -> None:
        progress(min(there * plan.part_rows, len(plan.rows)), len(plan.rows))

    for number in plan.numbers:
        yield from zip(*parts.read(number, on_wait), strict=True)
