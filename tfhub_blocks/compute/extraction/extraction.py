"""Extraction: a frozen encoder, or a part of one, applied to each item of a snapshot, once.

Items that earlier features do not have are computed in parts of a fixed number of them, in the
snapshot's order. Each worker computes a run of parts; one that is there already, from an attempt
that was interrupted, is not computed again. What parts hold does not depend on how many workers
there were, nor on interruptions.
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
# Larger batches leave a core's cache; on a GPU they do not.
CPU_BATCH_SIZE = 8
# Items that parity is measured on; and where a probe's accuracy is, too.
PARITY_ITEMS, PROBE_ITEMS = 64, 256
PARTS_FOLDER = "parts"


@dataclass(frozen=True)
class ExtractionOptions:
    """How features are computed and kept.

    ``max_difference`` bounds how far an engine's vectors may be from those of the model as it is
    served, relative to their length; None is 0.0001 for float32, and 0.3 for fewer bits.
    ``batch_size`` is that of a GPU; a core of a CPU computes at most 8 items at once. For fewer
    items than ``least_to_compare``, auto is the reference, done before a comparison would be.
    """

    engine: str = AUTO
    precision: str = "float32"
    dtype: str = "float32"
    max_difference: float | None = None
    batch_size: int = 64
    least_to_compare: int = 512


class VectorSource(Protocol):
    """What vectors come from: an encoder, or a part of one."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def input(self) -> Modality:
        """What it takes."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    @property
    def digest(self) -> str:
        """The digest of the encoder's files."""

    def describe(self) -> dict[str, Any]:
        """What decides vectors besides contents, digest and engine; JSON-ready."""

    def computation(self, batch_size: int, where: str) -> Computation:
        """The vectors as a computation of batches of one size, for a step."""


@dataclass(frozen=True)
class Share:
    """Which of how many workers this is, and the folder where all keep unfinished work."""

    work: Path
    index: int = 0
    count: int = 1

    @property
    def folder(self) -> Path:
        """Where the work of this kind of machine is: another attempt may get another."""
        return self.work / ("gpu" if has_gpu() else "cpu")


@dataclass(frozen=True, eq=False)
class Extraction:
    """Vectors to be had of a snapshot: by what, and how; of some splits, or of all items.

    ``where`` is the step that wants them, for messages.
    """

    snapshot: Snapshot
    encoder: VectorSource
    options: ExtractionOptions = ExtractionOptions()
    previous: Features | None = None
    splits: tuple[str, ...] = ()
    where: str = WHERE

    def compute(self, share: Share, progress: Callable[[int, int], None]) -> WorkPlan:
        """Compute one worker's share, and give what all workers go by.

        Memory holds a few batches, however many items there are.

        Args:
            share: Which share.
            progress: Called with items done and items in all, of this share.

        Raises:
            BlocksError: The modalities differ, the earlier features are another encoder's, no
                engine fits and passes, or an item cannot be decoded or has features that are not
                finite numbers.
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
        # One stream over all parts: while one is written, cores work on the next.
        for number, of_part in groupby(computed, key=itemgetter(0)):
            parts.write(number, self._kept(of_part, done, total, progress))
            done += len(plan.part(number))
        progress(total, total)
        return plan

    def parts(self, share: Share) -> Parts:
        """The parts that are there, of whichever worker and attempt."""
        return Parts(share.folder / PARTS_FOLDER, self.encoder.dimension, self.options.dtype)

    def reusable(self, kind: str) -> tuple[Features | None, str]:
        """The earlier features, if they are what an engine would give; else why they are not."""
        if self.previous is None:
            return None, ""
        made = self.previous.manifest
        asked = (kind, self.options.precision, self.encoder.describe(), self.options.dtype)
        had = (made.engine, made.precision, dict(made.preprocessing), made.dtype)
        names = ("engine", "precision", "preprocessing", "dtype")
        for name, before, now in zip(names, had, asked, strict=True):
            # Fewer bits can be made of more, not the other way round.
            if before != now and (before, now) != ("float32", "float16"):
                return None, f"{name} was {before} and is {now} now"
        return self.previous, ""

    def _check(self) -> None:
        of_items, of_encoder = self.snapshot.manifest.modality, self.encoder.input.name
        if of_items != of_encoder:
            raise BlocksError(
                self.where,
                "encoder",
                f"the snapshot's items are {of_items}, {self.encoder.name} takes {of_encoder}",
                "the same modality",
                f"give an encoder of {of_items} or a snapshot of {of_encoder}",
            )
        if self.previous:
            self.previous.check_encoder(self.encoder.digest, self.where)

    def _sample(self, computation: Computation) -> ParitySample:
        """The first items: ids are digests, so they are as good as drawn."""
        wanted = PARITY_ITEMS if self.options.precision == "float32" else PROBE_ITEMS
        rows = np.arange(min(wanted, self.snapshot.manifest.items))
        return take_sample(computation, list(self.snapshot.contents(rows)))

    def _asked(self) -> str:
        """The engine to look at, or auto for all."""
        if self.options.engine != AUTO:
            return self.options.engine
        if self.previous:
            # Another one, though faster today, would compute everything anew.
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
        """The rows of the snapshot, or of these splits, that are not in the earlier features."""
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
        """What fewer bits cost: a head's accuracy on the sample with and without, left one out."""
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
        """Vectors in the dtype that they are kept in."""
        for _, ids, vectors in computed:
            with np.errstate(over="ignore"):
                kept = vectors.astype(self.options.dtype)
            check_finite(ids, kept, self.where)
            yield ids, kept
            done += len(ids)
            progress(done, total)
