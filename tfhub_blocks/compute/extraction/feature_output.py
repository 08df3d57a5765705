"""The output of an extraction: computed parts and earlier features in the snapshot's order."""

# decision 15

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.extraction.earlier_features import EarlierFeatures
from tfhub_blocks.compute.extraction.extraction import Extraction
from tfhub_blocks.compute.extraction.feature_neighbours import (
    feature_neighbours,
    stored_features,
)
from tfhub_blocks.compute.inference.shared_work import Progress, Share, run_shared, wait_progress
from tfhub_blocks.compute.inference.work_plan import WorkPlan
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.records.base.folders import Format
from tfhub_blocks.records.formats.features import (
    FEATURES,
    FeatureManifest,
    ids_of,
    write_features,
)
from tfhub_blocks.records.formats.snapshots import Snapshot
from tfhub_blocks.records.formats.twins import write_same_features, write_twins

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
    if folder_format == FEATURES:
        manifest = note_neighbours(extraction.snapshot, folder, manifest)
    run.facts.update(
        items=manifest.items,
        rejected=manifest.rejected,
        computed=len(plan.rows),
        dimension=manifest.dimension,
        snapshot_digest=manifest.snapshot_digest,
        splits=dict(extraction.snapshot.manifest.split_rule),
        encoder_digest=manifest.encoder_digest,
        engine={"kind": plan.kind, **plan.report},
    )
    for line in plan.told():
        print(line)
    for warning in (*plan.warnings(), *manifest.warnings):
        run.warn(warning)
    print(
        f"{manifest.items} items with {manifest.dimension} {folder_format.kind} each, by "
        f"{extraction.encoder.name}; {len(plan.rows)} items computed, {manifest.rejected} rejected"
    )


def note_neighbours(snapshot: Snapshot, folder: Path, manifest: FeatureManifest) -> FeatureManifest:
    """Write the items with the same features and the twins into an unfinished folder of features.

    Twins are not looked for if the snapshot was taken with ``near_duplicates`` off.

    Returns:
        The manifest with the warnings, as written.
    """
    index = snapshot.index()
    splits = dict(zip(index["id"].to_pylist(), index["split"].to_pylist(), strict=True))
    has_twins = snapshot.manifest.split_rule.get("near_duplicates") != "off"
    found = feature_neighbours(stored_features(folder, manifest.shards), splits, has_twins)
    write_same_features(folder, found.same)
    write_twins(folder, found.twins)
    warnings = (*manifest.warnings, *found.warnings(snapshot))
    if warnings == manifest.warnings:
        return manifest
    noted = replace(manifest, warnings=warnings)
    noted.write(folder)
    return noted


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
    """Yield the vectors of all items in order, [n, dimension], reused or computed.

    The vector of an item that has no finite vector is NaN.
    """
    earlier = EarlierFeatures(extraction.reusable(plan.kind)[0])
    fresh = _fresh(extraction, plan, share, progress)
    dimension, dtype = extraction.encoder.dimension, extraction.options.dtype
    index = extraction.snapshot.index()
    row_bytes = dimension * np.dtype(dtype).itemsize
    pending: tuple[str, NDArray[np.floating]] | None = None
    per_write = max(1, min(ROWS_PER_WRITE, BYTES_PER_WRITE // row_bytes))
    for start in range(0, index.num_rows, per_write):
        ids = index["id"].slice(start, per_write).combine_chunks()
        vectors = np.empty((len(ids), dimension), dtype)
        known, found = earlier.find(ids_of(ids))
        if known.any():
            vectors[known] = found
        for row in np.flatnonzero(~known):
            item = ids[int(row)].as_py()
            if pending is None or pending[0] < item:
                pending = next(fresh, None)
            if pending is not None and pending[0] < item:
                raise RuntimeError(f"a part contains {pending[0]} in place of {item}")
            is_here = pending is not None and pending[0] == item
            vectors[row] = pending[1] if pending is not None and is_here else np.nan
        yield vectors


def _fresh(
    extraction: Extraction, plan: WorkPlan, share: Share, progress: Progress
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Yield ids and vectors of computed items, from all workers, in order."""
    parts = extraction.parts(share)
    on_wait = wait_progress(plan, progress)
    for number in plan.numbers:
        yield from zip(*parts.read(number, on_wait), strict=True)
