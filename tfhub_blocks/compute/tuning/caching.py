"""Caching: running the frozen lower part of an encoder once over the items of a training."""

# decision 21

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
from tfhub_blocks.compute.extraction.extraction import Extraction
from tfhub_blocks.compute.inference.computations import Computation, not_finite
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tuning import views
from tfhub_blocks.compute.tuning.activations import Activations, open_activations, stored_ids
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.features import Features, ids_of
from tfhub_blocks.records.formats.snapshots import Snapshot

SPLITS = ("train", "validation")


@dataclass(frozen=True, eq=False)
class LowerPart:
    """The part of an encoder below a cut, as a source of vectors: flat activations.

    ``view`` is the number of the augmented view of the items; 0 is the items themselves.
    """

    whole: CutEncoder
    cut: Cut
    view: int = 0

    @property
    def name(self) -> str:
        """The name of the encoder."""
        return self.whole.encoder.name

    @property
    def input(self) -> Modality:
        """The modality of the encoder."""
        return self.whole.encoder.input

    @property
    def dimension(self) -> int:
        """The count of numbers in one item's activation."""
        return prod(self.cut.shape)

    @property
    def digest(self) -> str:
        """The digest of the encoder's files."""
        return self.whole.encoder.digest

    def describe(self) -> dict[str, Any]:
        """Return all that affects activations apart from contents, digest and engine, for JSON."""
        cut = {"tensor": self.cut.tensor, "shape": list(self.cut.shape)}
        viewed = {"view": views.describe(self.view)} if self.view else {}
        return self.whole.encoder.describe() | {"cut": cut} | viewed

    def computation(self, batch_size: int, where: str) -> Computation:
        """Return the computation of activations in batches of one size, for a step."""
        of_whole = self.whole.encoder.computation(batch_size, where)
        prepare = of_whole.prepare
        spec = self.input.spec(batch_size)
        if self.view:
            prepare = views.viewed(cast(Images, self.input), self.view)
        return Computation(
            where=where,
            input=self.input,
            prepare=prepare,
            forward=lower_function(self.whole.flat, self.cut.tensor, spec),
            batch_size=batch_size,
            dimension=self.dimension,
            modules=of_whole.modules,
        )


@dataclass(frozen=True, eq=False)
class Examples:
    """Activations at a cut, to train and to measure on.

    ``views`` are the activations of the training items: of the items themselves first, then of
    their augmented views. ``engine`` is the name of the engine that computed the activations, or
    empty if another step did.
    """

    views: tuple[Activations, ...]
    validation: Activations
    engine: str = ""
    rejected: int = 0
    """The number of items to learn from without finite activations, which are left out."""

    @property
    def train(self) -> Activations:
        """The activations of the training items without augmentation."""
        return self.views[0]


@dataclass(frozen=True, eq=False)
class Cache:
    """The activations at a cut of a snapshot's items; missing ones are computed.

    The activations are the parts of an extraction, which are not joined. A part that an earlier
    attempt left in the share's folder is not computed again. Workers with a common folder compute
    a share each. ``where`` is the calling step, for messages.
    """

    snapshot: Snapshot
    lower: LowerPart
    options: InferenceOptions
    share: Share
    where: str

    def examples(
        self, view_count: int, given: Features | None, progress: Callable[[int, int], None]
    ) -> Examples:
        """Return the activations of all items to train on and to validate with.

        Args:
            view_count: The number of augmented views to add for the training items.
            given: The activations of the items without augmentation, if a step computed them.
            progress: Called with the items done and the total, of this worker's share.

        Raises:
            BlocksError: The modality has no views, the passed activations belong to other inputs,
                the disk is too small, or ``Extraction.compute`` failed.
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
            # All activations come from one engine, which is selected only once.
            engine, augmented = computed(SPLITS[:1], view, engine)
            others += augmented
            done += train // self.share.count
        computer = engine if given is None or others else ""
        rejected = train + validation - len(made[0]) - len(made[1])
        return Examples((made[0], *others), made[1], computer, rejected)

    def _computed(
        self, splits: Sequence[str], view: int, engine: str, progress: Callable[[int, int], None]
    ) -> tuple[str, list[Activations]]:
        """Return the engine's name and the activations of some splits, from all workers."""
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
        """Return the activations of an earlier step, if their items, encoder and cut are the same.

        Raises:
            BlocksError: The activations belong to other inputs.
        """
        made = given.manifest
        cut = made.preprocessing.get("cut", {})
        recorded = {
            "snapshot": (made.snapshot_digest, self.snapshot.manifest.digest),
            "encoder": (made.encoder_digest, self.lower.digest),
            "cut": (cut.get("tensor"), self.lower.cut.tensor),
            "preprocessing": (dict(made.preprocessing), self.lower.describe()),
        }
        for name, (found, expected) in recorded.items():
            if found != expected:
                raise BlocksError(
                    self.where,
                    "activations",
                    f"the activations have {name} {found}",
                    f"the {name} of this step, {expected}",
                    "Pass the output of a cache_activations step with the same snapshot, encoder "
                    "and trainable, or leave out activations to compute them in this step",
                )
        paths = [given.folder.file(shard) for shard in made.shards]
        rows = np.arange(self.snapshot.manifest.items)
        return self._opened(paths, rows, made.dtype, SPLITS)

    def _opened(
        self, paths: Sequence[Path], rows: NDArray[np.int64], dtype: str, splits: Sequence[str]
    ) -> list[Activations]:
        """Return the activations of each split, from files with snapshot rows in order.

        The files lack the items whose activations are not finite.
        """
        index = self.snapshot.index()
        stored = stored_ids(paths)
        if len(rows) and not len(stored):
            raise not_finite(index["id"][int(rows[0])].as_py(), dtype, self.where)
        if len(stored) < len(rows):
            rows = rows[np.isin(ids_of(index["id"].combine_chunks())[rows], stored)]
        of_rows = np.asarray(index["split"].take(pa.array(rows)))
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
        existing = next(path for path in (work, *work.parents) if path.is_dir())
        kept_bytes = sum(path.stat().st_size for each in kept for path in each.rglob("*.arrow"))
        needed_bytes = items * self.lower.cut.activation_bytes(self.options.dtype)
        disk = shutil.disk_usage(existing)
        # A mount reports zeros: only a local disk knows its size.
        if disk.total and needed_bytes - kept_bytes > disk.free:
            raise BlocksError(
                self.where,
                "trainable",
                f"the activations at this cut need {needed_bytes / 1e9:.2f} GB of disk, and "
                f"{disk.free / 1e9:.2f} GB are free",
                "",
                "Set trainable to a cut with smaller activations (`tfhub-blocks encoder cuts "
                "ENCODER` lists them), reduce augment_views, set dtype=float16, or use a larger "
                "disk",
            )
