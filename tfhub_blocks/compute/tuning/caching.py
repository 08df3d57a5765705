"""Caching: the frozen lower part of an encoder, run once over the items that training needs."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder
from tfhub_blocks.compute.cutting.graph_halves import lower_function
from tfhub_blocks.compute.extraction.extraction import Extraction, ExtractionOptions, Share
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.compute.tuning import views
from tfhub_blocks.compute.tuning.activations import Activations, open_activations
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.features import Features
from tfhub_blocks.records.formats.snapshots import Snapshot

SPLITS = ("train", "validation")


@dataclass(frozen=True, eq=False)
class LowerPart:
    """What lies below a cut of an encoder, as what vectors come from: flat activations.

    ``view`` is the number of the augmented view of items that it is applied to; 0 is as they are.
    """

    whole: CutEncoder
    cut: Cut
    view: int = 0

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
        viewed = {"view": views.describe(self.view)} if self.view else {}
        return self.whole.encoder.describe() | {"cut": cut} | viewed

    def computation(self, batch_size: int, where: str) -> Computation:
        """Activations as a computation of batches of one size, for a step."""
        of_whole = self.whole.encoder.computation(batch_size, where)
        preprocess = of_whole.preprocess
        spec = tf.TensorSpec.from_tensor(preprocess.outputs[0])
        if self.view:
            preprocess = views.viewed(preprocess, cast(Images, self.input), self.view)
        return Computation(
            where=where,
            input=self.input,
            preprocess=preprocess,
            forward=lower_function(self.whole.flat, self.cut.tensor, spec),
            batch_size=batch_size,
            dimension=self.dimension,
            modules=of_whole.modules,
        )


@dataclass(frozen=True, eq=False)
class Examples:
    """What is trained and measured on: activations at a cut.

    ``views`` are those of the training items: as they are first, then augmented. ``engine`` is
    the name of what computed them, nothing if another step did.
    """

    views: tuple[Activations, ...]
    validation: Activations
    engine: str = ""

    @property
    def train(self) -> Activations:
        """Those of the training items as they are."""
        return self.views[0]


@dataclass(frozen=True, eq=False)
class Cache:
    """The activations at a cut of a snapshot's items, computed where they are not there.

    They are the parts of extractions, which are not put together: what an earlier attempt at the
    same left in the share's folder is not computed again, and of workers with a folder in common
    each computes its share. ``where`` is who asks, for messages.
    """

    snapshot: Snapshot
    lower: LowerPart
    options: ExtractionOptions
    share: Share
    where: str

    def examples(
        self, view_count: int, given: Features | None, progress: Callable[[int, int], None]
    ) -> Examples:
        """The activations of all items to train on and to validate with.

        Args:
            view_count: How many augmented views of the items to train on there are besides.
            given: Those of the items as they are, if a step has computed them before.
            progress: Called with items done and items in all, of this worker's share.

        Raises:
            BlocksError: There are no views of such items, those given are of something else, the
                disk is too small, or as ``Extraction.compute``.
        """
        if view_count:
            views.check_viewable(self.lower.input, self.where)
        counts = self.snapshot.manifest.counts
        train, validation = (sum(counts.get(split, {}).values()) for split in SPLITS)
        own = train + validation if given is None else 0
        first_view = 0 if given is None else 1
        kept = [self._folder(view) for view in range(first_view, view_count + 1)]
        self._check_disk(own + view_count * train, kept)
        total, done = (own + view_count * train) // self.share.count, 0

        def computed(
            splits: Sequence[str], view: int, engine: str
        ) -> tuple[str, list[Activations]]:
            before = done
            return self._computed(
                splits, view, engine, lambda n, _: progress(min(before + n, total), total)
            )

        if given is None:
            engine, made = computed(SPLITS, 0, self.options.engine)
            done += own // self.share.count
        else:
            engine, made = self.options.engine, self._given(given)
        others = []
        for view in range(1, view_count + 1):
            # All that is trained on is of one engine, and found but once.
            engine, augmented = computed(SPLITS[:1], view, engine)
            others += augmented
            done += train // self.share.count
        computer = engine if given is None or others else ""
        return Examples((made[0], *others), made[1], computer)

    def _computed(
        self, splits: Sequence[str], view: int, engine: str, progress: Callable[[int, int], None]
    ) -> tuple[str, list[Activations]]:
        """The name of the engine, and the activations of some splits, by whichever worker."""
        lower, options = replace(self.lower, view=view), replace(self.options, engine=engine)
        share = replace(self.share, work=self._folder(view))
        extraction = Extraction(
            self.snapshot, lower, options, splits=tuple(splits), where=self.where
        )
        plan = extraction.compute(share, progress)
        parts = extraction.parts(share)
        paths = [parts.wait(number) for number in plan.numbers]
        return plan.engine, self._opened(paths, plan.rows, options.dtype, splits)

    def _given(self, given: Features) -> list[Activations]:
        """Those that a step has computed before, if they are of these items, encoder and cut.

        Raises:
            BlocksError: They are of something else.
        """
        made = given.manifest
        cut = made.preprocessing.get("cut", {})
        told = {
            "snapshot": (made.snapshot_digest, self.snapshot.manifest.digest),
            "encoder": (made.encoder_digest, self.lower.digest),
            "cut": (cut.get("tensor"), self.lower.cut.tensor),
            "preprocessing": (dict(made.preprocessing), self.lower.describe()),
        }
        for what, (found, expected) in told.items():
            if found != expected:
                raise BlocksError(
                    self.where,
                    "activations",
                    f"their {what} is {found}",
                    f"{expected}, as it is here",
                    "give those that cache_activations made of this snapshot and encoder with this "
                    "trainable, or none to have them computed",
                )
        paths = [given.folder.file(shard) for shard in made.shards]
        rows = np.arange(self.snapshot.manifest.items)
        return self._opened(paths, rows, made.dtype, SPLITS)

    def _opened(
        self, paths: Sequence[Path], rows: NDArray[np.int64], dtype: str, splits: Sequence[str]
    ) -> list[Activations]:
        """Those of each split in files that hold some rows of the snapshot in order."""
        of_rows = np.asarray(self.snapshot.index()["split"].take(pa.array(rows)))
        targets, shape = self.snapshot.targets(rows), self.lower.cut.shape
        return [open_activations(paths, shape, dtype, targets, of_rows == s) for s in splits]

    def _folder(self, view: int) -> Path:
        lower = replace(self.lower, view=view)
        options, snapshot = self.options, self.snapshot.manifest
        identity = [lower.digest, snapshot.digest, lower.describe()]
        digest = record_digest([*identity, options.dtype, options.precision])
        return self.share.work / digest[:16]

    def _check_disk(self, items: int, kept: Sequence[Path]) -> None:
        work = self.share.work
        there = next(path for path in (work, *work.parents) if path.is_dir())
        kept_bytes = sum(path.stat().st_size for each in kept for path in each.rglob("*.arrow"))
        needed_bytes = items * self.lower.cut.activation_bytes(self.options.dtype)
        free_bytes = shutil.disk_usage(there).free
        if needed_bytes - kept_bytes > free_bytes:
            raise BlocksError(
                self.where,
                "trainable",
                f"the activations at this cut need {needed_bytes / 1e9:.2f} GB of disk, "
                f"{free_bytes / 1e9:.2f} GB are free",
                "room for all of them",
                "choose a cut with smaller activations (`tfhub-blocks encoder cuts ENCODER`), "
                "fewer augment_views, dtype=float16, or a larger disk",
            )
