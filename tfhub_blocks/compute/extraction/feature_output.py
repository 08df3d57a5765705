"""The output of an extraction: computed parts and earlier features in the snapshot's order."""

# decision 15

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.extraction.earlier_features import EarlierFeatures
from tfhub_blocks.compute.extraction.extraction import Extraction
from tfhub_blocks.compute.inference.shared_work import Progress, Share, run_shared, wait_progress
from tfhub_blocks.compute.inference.work_plan import WorkPlan
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.records.base.folders import Format
from tfhub_blocks.records.formats.features import (
    FeatureManifest,
    ids_of,
    write_features,
)

# Readers load one Arrow batch at once, and readers in random order sample from a few batches.
ROWS_PER_WRITE = 1024
BYTES_PER_WRITE = 4 * 2**20


def run_extraction(
    run: StepRun,
    port: str,
    folder_format: Format,
    extraction: Extraction,
    progress: Callable[[str], Progress],
) -> None:
    """Write the vectors of all items to a step's output. Each worker computes a share.

    Args:
        run: The step's run.
        port: The name of the output.
        folder_format: The format of the output: ``FEATURES`` or ``ACTIVATIONS``.
        extraction: The extraction, of all splits.
        progress: Returns, for a unit, a function to call with the units done and the total.

    Raises:
        BlocksError: ``Extraction.compute`` failed.
    """
    mine = run_shared(run, port, folder_format, extraction, progress)
    if mine is None:
        return
    plan, share, folder = mine
    manifest = write_extraction(extraction, plan, share, folder, progress("items"))
    run.facts.update(
        items=manifest.items,
        computed=len(plan.rows),
        dimension=manifest.dimension,
        snapshot_digest=manifest.snapshot_digest,
        splits=dict(extraction.snapshot.manifest.split_rule),
        encoder_digest=manifest.encoder_digest,
        engine={"kind": plan.kind, **plan.report},
    )
    for line in plan.told():
        print(line)
    for warning in plan.warnings():
        run.warn(warning)
    print(
        f"{manifest.items} items with {manifest.dimension} {folder_format.kind} each, by "
        f"{extraction.encoder.name}; {len(plan.rows)} items computed"
    )


def write_extraction(
    extraction: Extraction,
    plan: WorkPlan,
    share: Share,
    folder: Path,
    progress: Progress,
) -> FeatureManifest:
    """Write the features of all items of an extraction's snapshot, and return their manifest.

    The first worker calls this. The call waits for the parts of other workers.

    Args:
        extraction: The extraction, of all splits.
        plan: The plan of all workers.
        share: The share of the first worker.
        folder: The empty folder to fill.
        progress: Called with the items computed by all workers, and the total.
    """
    source, dtype = extraction.encoder, extraction.options.dtype
    return write_features(
        folder,
        extraction.snapshot,
        _blocks(extraction, plan, share, progress),
        source.digest,
        dtype,
        source.describe(),
        plan.kind,
        extraction.options.precision,
    )


def _blocks(
    extraction: Extraction, plan: WorkPlan, share: Share, progress: Progress
) -> Iterator[NDArray[np.floating]]:
    """Yield the vectors of all items in order, [n, dimension], reused or computed."""
    earlier = EarlierFeatures(extraction.reusable(plan.kind)[0])
    fresh = _fresh(extraction, plan, share, progress)
    dimension, dtype = extraction.encoder.dimension, extraction.options.dtype
    index = extraction.snapshot.index()
    row_bytes = dimension * np.dtype(dtype).itemsize
    per_write = max(1, min(ROWS_PER_WRITE, BYTES_PER_WRITE // row_bytes))
    for start in range(0, index.num_rows, per_write):
        ids = index["id"].slice(start, per_write).combine_chunks()
        vectors = np.empty((len(ids), dimension), dtype)
        known, found = earlier.find(ids_of(ids))
        if known.any():
            vectors[known] = found
        for row in np.flatnonzero(~known):
            item, vectors[row] = next(fresh)
            if item != ids[int(row)].as_py():
                raise RuntimeError(f"a part contains {item} in place of {ids[int(row)]}")
        yield vectors


def _fresh(
    extraction: Extraction, plan: WorkPlan, share: Share, progress: Progress
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Yield ids and vectors of computed items, from all workers, in order."""
    parts = extraction.parts(share)
    on_wait = wait_progress(plan, progress)
    for number in plan.numbers:
        yield from zip(*parts.read(number, on_wait), strict=True)
