"""Caching: the frozen lower part of an encoder, run once over the items that training needs."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.computations import Computation
from tfhub_blocks.compute.encoder_cuts import Cut, CutEncoder
from tfhub_blocks.compute.extraction import Extraction, Options, Share
from tfhub_blocks.compute.graph_halves import lower_function
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.runtime import tf
from tfhub_blocks.compute.tuning.activations import Activations, open_activations
from tfhub_blocks.records.digests import record_digest
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.snapshots import Snapshot

SPLITS = ("train", "validation")


@dataclass(frozen=True, eq=False)
class LowerPart:
    """What lies below a cut of an encoder, as what vectors come from: flat activations."""

    whole: CutEncoder
    cut: Cut

    @property
    def name(self) -> str:
        """That of the encoder."""
        return self.whole.encoder.name

    @property
    def input(self) -> Modality:
        """That of the encoder."""
        return self.whole.encoder.input

    @property
    def dimension(self) -> int:
        """The numbers of one item's activation."""
        return prod(self.cut.shape)

    @property
    def digest(self) -> str:
        """That of the encoder's files."""
        return self.whole.encoder.digest

    def describe(self) -> dict[str, Any]:
        """What decides activations besides contents, digest and engine; JSON-ready."""
        cut = {"tensor": self.cut.tensor, "shape": list(self.cut.shape)}
        return self.whole.encoder.describe() | {"cut": cut}

    def computation(self, batch_size: int, where: str) -> Computation:
        """Activations as a computation of batches of one size, for a step."""
        of_whole = self.whole.encoder.computation(batch_size, where)
        spec = tf.TensorSpec.from_tensor(of_whole.preprocess.outputs[0])
        return Computation(
            where=where,
            input=self.input,
            preprocess=of_whole.preprocess,
            forward=lower_function(self.whole.flat, self.cut.tensor, spec),
            batch_size=batch_size,
            dimension=self.dimension,
            modules=of_whole.modules,
        )


def cached_activations(
    snapshot: Snapshot,
    cut_encoder: CutEncoder,
    cut: Cut,
    options: Options,
    folder: Path,
    progress: Callable[[int, int], None],
    where: str,
) -> dict[str, Activations]:
    """The activations at a cut of all items to train on and to validate with, by split.

    They are the parts of an extraction, which are not put together: what an earlier attempt at the
    same left in the folder is not computed again.

    Args:
        snapshot: The items.
        cut_encoder: Their encoder.
        cut: Where.
        options: By which engine, and in which dtype they are kept.
        folder: Where they are kept.
        progress: Called with items done and items in all.
        where: Who asks, for messages.

    Raises:
        BlocksError: The disk is too small, or as ``Extraction.compute``.
    """
    lower, manifest = LowerPart(cut_encoder, cut), snapshot.manifest
    sizes = {split: sum(manifest.counts.get(split, {}).values()) for split in SPLITS}
    identity = [lower.digest, manifest.digest, lower.describe(), options.dtype, options.precision]
    folder = folder / record_digest(identity)[:16]
    needed_bytes = sum(sizes.values()) * cut.activation_bytes(options.dtype)
    _check_disk(needed_bytes - _size_bytes(folder), folder, where)
    made, done = {}, 0
    for split, items in sizes.items():
        extraction = Extraction(snapshot, lower, options, split=split, where=where)
        share = Share(folder / split)

        def count(n: int, _: int, before: int = done) -> None:
            progress(before + n, sum(sizes.values()))

        plan = extraction.compute(share, count)
        # All that is trained on is of one engine, and found but once.
        options = replace(options, engine=plan.engine)
        parts = extraction.parts(share)
        paths = [path for number in plan.numbers if (path := parts.find(number))]
        made[split] = open_activations(paths, cut.shape, options.dtype, snapshot.targets(plan.rows))
        done += items
    return made


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.arrow"))


def _check_disk(needed_bytes: int, folder: Path, where: str) -> None:
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free_bytes = shutil.disk_usage(there).free
    if needed_bytes > free_bytes:
        raise BlocksError(
            where,
            "trainable",
            f"the activations at this cut need {needed_bytes / 1e9:.2f} GB of disk, "
            f"{free_bytes / 1e9:.2f} GB are free",
            "room for all of them",
            "choose a cut with smaller activations (`tfhub-blocks encoder cuts ENCODER`), "
            "activations=float16, or a larger disk",
        )
