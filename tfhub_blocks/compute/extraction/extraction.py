"""Extraction: applies a frozen encoder, or a part of it, to each item of a snapshot once.

Items without earlier features are computed in parts of a fixed size, in the snapshot's order. Each
worker computes consecutive parts. A part from an interrupted attempt is not computed again. The
contents of parts do not depend on the number of workers or on interruptions.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tfhub_blocks.compute.extraction.earlier_features import EarlierFeatures
from tfhub_blocks.compute.heads.ridge import leave_one_out
from tfhub_blocks.compute.inference.computations import Computation, Item, batched, check_finite
from tfhub_blocks.compute.inference.engine_interface import UnfitError
from tfhub_blocks.compute.inference.engine_list import ENGINES, REFERENCE
from tfhub_blocks.compute.inference.engine_selection import (
    AUTO,
    ParitySample,
    Selected,
    select_engine,
    take_sample,
)
from tfhub_blocks.compute.inference.parity import usual_limit
from tfhub_blocks.compute.inference.parts import IdsAndVectors, Parts
from tfhub_blocks.compute.inference.work_plan import WorkPlan, read_plan, rows_of_part
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.tensorflow_setup import has_gpu
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.features import Features, check_rising, ids_of
from tfhub_blocks.records.formats.snapshots import Snapshot

WHERE = "extract_features"
# Larger batches do not fit the cache of a core. On a GPU there is no such limit.
CPU_BATCH_SIZE = 8
# The number of items to measure parity on, and if a probe's accuracy is measured too.
PARITY_ITEMS, PROBE_ITEMS = 64, 256
PARTS_FOLDER = "parts"


@dataclass(frozen=True)
class ExtractionOptions:
    """The options of computing and storing features.

    ``max_difference`` is the limit of the distance of an engine's vectors from those of the model
    as served, relative to their length; None is 0.0001 for float32, and 0.3 for fewer bits.
    ``batch_size`` is for a GPU; a core of a CPU computes at most 8 items at once. For fewer items
    than ``least_to_compare``, auto is the reference, because a comparison would take longer.
    """

    engine: str = AUTO
    precision: str = "float32"
    dtype: str = "float32"
    max_difference: float | None = None
    batch_size: int = 64
    least_to_compare: int = 512


class VectorSource(Protocol):
    """A source of vectors: an encoder, or a part of an encoder."""

    @property
    def name(self) -> str:
        """The name for messages."""

    @property
    def input(self) -> Modality:
        """The modality of its items."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    @property
    def digest(self) -> str:
        """The digest of the encoder's files."""

    def describe(self) -> dict[str, Any]:
        """Return all that affects vectors apart from contents, digest and engine, for JSON."""

    def computation(self, batch_size: int, where: str) -> Computation:
        """Return the computation of vectors in batches of one size, for a step."""


@dataclass(frozen=True)
class Share:
    """The share of worker ``index`` of ``count``, and the folder for all unfinished work."""

    work: Path
    index: int = 0
    count: int = 1

    @property
    def folder(self) -> Path:
        """The folder for this kind of machine: the next attempt may run on another kind."""
        return self.work / ("gpu" if has_gpu() else "cpu")


@dataclass(frozen=True, eq=False)
class Extraction:
    """The extraction of vectors from a snapshot, of all items or of some splits.

    ``where`` is the calling step, for messages.
    """

    snapshot: Snapshot
    encoder: VectorSource
    options: ExtractionOptions = ExtractionOptions()
    previous: Features | None = None
    splits: tuple[str, ...] = ()
    where: str = WHERE

    def compute(self, share: Share, progress: Callable[[int, int], None]) -> WorkPlan:
        """Compute a worker's share, and return the plan that all workers follow.

        Memory contains a few batches, for any number of items.

        Args:
            share: The share of this worker.
            progress: Called with the items done and the total, of this share.

        Raises:
            BlocksError: The modalities differ, the earlier features belong to another encoder, no
                engine can run and passes, an item cannot be decoded, or its features are not
                finite.
        """
        self._check()
        options = self.options
        size = options.batch_size if has_gpu() else min(options.batch_size, CPU_BATCH_SIZE)
        computation = self.encoder.computation(size, self.where)
        sample = self._sample(computation)
        plan = read_plan(share.folder, wait=share.index > 0)
        limit = options.max_difference
        selected = select_engine(
            plan.engine if plan else self._asked(),
            options.precision,
            usual_limit(options.precision) if limit is None else limit,
            sample,
        )
        if plan is None:
            plan = self._plan(selected, sample, size)
            plan.write(share.folder)
        parts, mine = self.parts(share), plan.share(share.index, share.count)
        missing = [number for number in mine if parts.find(number) is None]
        total = sum(len(plan.part(number)) for number in mine)
        done = total - sum(len(plan.part(number)) for number in missing)

        def batches() -> Iterator[tuple[int, list[Item]]]:
            for number in missing:
                contents = self.snapshot.contents(plan.part(number))
                yield from ((number, batch) for batch in batched(contents, size))

        computed = computation.vectors(batches(), selected.forward)
        # One stream over all parts: while a part is written, the cores compute the next.
        for number, of_part in groupby(computed, key=itemgetter(0)):
            parts.write(number, self._kept(of_part, done, total, progress))
            done += len(plan.part(number))
        progress(total, total)
        return plan

    def parts(self, share: Share) -> Parts:
        """Return the finished parts, of all workers and attempts."""
        return Parts(share.folder / PARTS_FOLDER, self.encoder.dimension, self.options.dtype)

    def reusable(self, kind: str) -> tuple[Features | None, str]:
        """Return the earlier features if this engine would compute the same, else the reason."""
        if self.previous is None:
            return None, ""
        made = self.previous.manifest
        asked = (kind, self.options.precision, self.encoder.describe(), self.options.dtype)
        had = (made.engine, made.precision, dict(made.preprocessing), made.dtype)
        names = ("engine", "precision", "preprocessing", "dtype")
        for name, before, now in zip(names, had, asked, strict=True):
            # float32 can be rounded to float16, and the reverse is not possible.
            if before != now and (before, now) != ("float32", "float16"):
                return None, f"{name} was {before} and is {now} now"
        return self.previous, ""

    def _check(self) -> None:
        of_items, of_encoder = self.snapshot.manifest.modality, self.encoder.input.name
        if of_items != of_encoder:
            raise BlocksError(
                self.where,
                "encoder",
                f"the modality of the snapshot is {of_items}, and {self.encoder.name} takes "
                f"{of_encoder}",
                "the same modality",
                f"Pass an encoder of modality {of_items}, or a snapshot of modality {of_encoder}",
            )
        if self.previous:
            self.previous.check_encoder(self.encoder.digest, self.where)

    def _sample(self, computation: Computation) -> ParitySample:
        """Return the first items: ids are digests, so these items are a random sample."""
        wanted = PARITY_ITEMS if self.options.precision == "float32" else PROBE_ITEMS
        rows = np.arange(min(wanted, self.snapshot.manifest.items))
        return take_sample(computation, list(self.snapshot.contents(rows)))

    def _asked(self) -> str:
        """Return the engine to try, or auto for all."""
        if self.options.engine != AUTO:
            return self.options.engine
        if self.previous:
            # Another engine may be faster, but would have to compute all features again.
            name = self.previous.manifest.engine.partition("/")[0]
            with suppress(KeyError, UnfitError):
                if ENGINES[name].version and ENGINES[name].kind == self.previous.manifest.engine:
                    return name
        few = self.snapshot.manifest.items < self.options.least_to_compare
        return REFERENCE if few else AUTO

    def _plan(self, selected: Selected, sample: ParitySample, batch_size: int) -> WorkPlan:
        reusable, why_not = self.reusable(selected.engine.kind)
        rows = self._missing(reusable)
        report: dict[str, Any] = {
            "candidates": dict(selected.candidates),
            "parity": asdict(selected.parity),
        }
        if why_not:
            report["not_reused"] = why_not
        if self.options.precision != "float32":
            report["probe"] = self._probe(sample, selected)
        engine = selected.engine
        return WorkPlan(engine.name, engine.kind, rows, rows_of_part(len(rows), batch_size), report)

    def _missing(self, reusable: Features | None) -> NDArray[np.int64]:
        """Return the rows of the snapshot, or of these splits, that lack earlier features."""
        earlier = EarlierFeatures(reusable, with_vectors=False)
        missing, start, last = [np.empty(0, np.int64)], 0, b""
        for rows in self.snapshot.index().to_batches():
            ids = ids_of(rows["id"])
            last = check_rising(ids, last, f"snapshot {self.snapshot.folder.path}")
            wanted = ~earlier.find(ids)[0]
            if self.splits:
                wanted &= np.asarray(pc.is_in(rows["split"], pa.array(self.splits)))
            missing.append(start + np.flatnonzero(wanted))
            start += len(ids)
        return np.concatenate(missing)

    def _probe(self, sample: ParitySample, selected: Selected) -> dict[str, Any]:
        """Return the leave-one-out accuracy of a head on the sample, with all and fewer bits."""
        targets = self.snapshot.targets(np.arange(len(sample.ids)))
        if len(np.unique(targets)) < 2:
            return {}
        return {
            name: leave_one_out(vectors, targets).accuracy.as_dict()
            for name, vectors in (
                ("float32", sample.reference),
                (self.options.precision, selected.vectors),
            )
        }

    def _kept(
        self,
        computed: Iterator[tuple[int, list[str], NDArray[np.float32]]],
        done: int,
        total: int,
        progress: Callable[[int, int], None],
    ) -> Iterator[IdsAndVectors]:
        """Yield ids and vectors, with vectors in the dtype of the output."""
        for _, ids, vectors in computed:
            with np.errstate(over="ignore"):
                kept = vectors.astype(self.options.dtype)
            check_finite(ids, kept, self.where)
            yield ids, kept
            done += len(ids)
            progress(done, total)
