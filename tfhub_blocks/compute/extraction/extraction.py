"""Extraction: applies a frozen encoder, or a part of it, to each item of a snapshot once.

Items without earlier features are computed in parts of a fixed size, in the snapshot's order. Each
worker computes consecutive parts. A part from an interrupted attempt is not computed again. The
contents of parts do not depend on the number of workers or on interruptions. A part lacks the items
whose vectors are not finite.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tfhub_blocks.compute.extraction.earlier_features import EarlierFeatures
from tfhub_blocks.compute.extraction.input_trials import (
    PINNED,
    could_be_better,
    input_trials,
    worse_text,
)
from tfhub_blocks.compute.heads.ridge import leave_one_out
from tfhub_blocks.compute.inference.computations import Computation, Item, batched, not_finite
from tfhub_blocks.compute.inference.engine_selection import (
    ParitySample,
    Selected,
    select_engine,
    take_sample,
)
from tfhub_blocks.compute.inference.parity import usual_limit
from tfhub_blocks.compute.inference.parts import IdsAndVectors, Parts
from tfhub_blocks.compute.inference.shared_work import (
    PARTS_FOLDER,
    Answers,
    InferenceOptions,
    Progress,
    Share,
    compute_missing,
    engine_to_try,
    plan_work,
)
from tfhub_blocks.compute.inference.work_plan import WorkPlan, rows_of_part
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
DEFAULTS = InferenceOptions()


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


@dataclass(frozen=True, eq=False)
class Extraction:
    """The extraction of vectors from a snapshot, of all items or of some splits.

    ``where`` is the calling step, for messages.
    """

    snapshot: Snapshot
    encoder: VectorSource
    options: InferenceOptions = DEFAULTS
    previous: Features | None = None
    splits: tuple[str, ...] = ()
    where: str = WHERE

    def compute(self, share: Share, progress: Progress) -> WorkPlan:
        """Compute a worker's share, and return the plan that all workers follow.

        Memory contains a few batches, for any number of items.

        Args:
            share: The share of this worker.
            progress: Called with the items done and the total, of this share.

        Raises:
            BlocksError: The modalities differ, the earlier features belong to another encoder, no
                engine can run and passes, an item cannot be decoded, or no item of the sample has
                finite features.
        """
        self._check()
        size = (
            self.options.batch_size if has_gpu() else min(self.options.batch_size, CPU_BATCH_SIZE)
        )
        computation = self.encoder.computation(size, self.where)
        sample = self._sample(computation)
        plan, selected = plan_work(
            share,
            lambda planned: self._select(planned, sample),
            lambda selected: self._plan(selected, sample, size),
        )

        def answers(numbers: list[int]) -> Answers:
            batches = self._batches(plan, numbers, size)
            return computation.vectors(batches, selected.forward, computation.refuse_undecodable)

        parts = self.parts(share)
        compute_missing(
            plan,
            share,
            parts,
            answers,
            lambda number, computed: parts.write(number, self._kept(computed)),
            progress,
        )
        return plan

    def parts(self, share: Share) -> Parts:
        """Return the finished parts, of all workers and attempts."""
        return Parts(share.folder / PARTS_FOLDER, self.encoder.dimension, self.options.dtype)

    def reusable(self, kind: str) -> tuple[Features | None, str]:
        """Return the earlier features if this engine would compute the same, else the reason."""
        if self.previous is None:
            return None, ""
        made = self.previous.manifest
        earlier, described = dict(made.preprocessing), self.encoder.describe()
        pairs = {
            "engine": (made.engine, kind),
            "precision": (made.precision, self.options.precision),
            # Features of the first versions do not state their preparation.
            "preparation": (earlier.get("preparation", "1"), described.get("preparation", "1")),
            "preprocessing": (earlier, described),
            "dtype": (made.dtype, self.options.dtype),
        }
        for name, (before, now) in pairs.items():
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
        """Return the first items: ids are digests, so these items are a random sample.

        Raises:
            BlocksError: No item of the sample has features that are finite in the dtype.
        """
        wanted = PARITY_ITEMS if self.options.precision == "float32" else PROBE_ITEMS
        rows = np.arange(min(wanted, self.snapshot.manifest.items))
        sample = take_sample(computation, list(self.snapshot.contents(rows)))
        if not len(_finite_rows(self._stored(sample.reference))):
            raise not_finite(sample.ids[0], self.options.dtype, self.where)
        return sample

    def _stored(self, vectors: NDArray[np.float32]) -> NDArray[np.floating]:
        with np.errstate(over="ignore"):
            return vectors.astype(self.options.dtype)

    def _select(self, planned: str | None, sample: ParitySample) -> Selected:
        """Return the engine of the plan, or the one to plan for."""
        options = self.options
        earlier = self.previous.manifest.engine if self.previous else None
        asked = engine_to_try(options, earlier, self.snapshot.manifest.items)
        limit = options.max_difference
        if limit is None:
            limit = usual_limit(options.precision)
        return select_engine(planned or asked, options.precision, limit, sample)

    def _batches(
        self, plan: WorkPlan, numbers: list[int], size: int
    ) -> Iterator[tuple[int, list[Item]]]:
        """Yield the items of some parts in batches, each with the number of its part."""
        for number in numbers:
            contents = self.snapshot.contents(plan.part(number))
            yield from ((number, batch) for batch in batched(contents, size))

    def _plan(self, selected: Selected, sample: ParitySample, batch_size: int) -> WorkPlan:
        reusable, why_not = self.reusable(selected.engine.kind)
        rows = self._missing(reusable)
        report: dict[str, Any] = {
            "candidates": dict(selected.candidates),
            "parity": asdict(selected.parity),
        }
        if why_not:
            report["not_reused"] = why_not
        if worse := self._worse_assumption(sample):
            report["assumptions"] = worse
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
        targets = self.snapshot.targets(sample.rows)
        if len(np.unique(targets)) < 2:
            return {}
        return {
            name: leave_one_out(vectors, targets).accuracy.as_dict()
            for name, vectors in (
                ("float32", sample.reference),
                (self.options.precision, selected.vectors),
            )
        }

    def _worse_assumption(self, sample: ParitySample) -> str | None:
        """Return a sentence if another assumption about the input is clearly better.

        The test runs only for a scaling of pixels that nobody declared, and only if the accuracy on
        the sample leaves room for a better one.
        """
        if not getattr(self.encoder, "is_input_assumed", False):
            return None
        targets = self.snapshot.targets(sample.rows)
        if len(np.unique(targets)) < 2 or not could_be_better(sample.reference, targets):
            return None
        size = sample.computation.batch_size
        others: dict[str, VectorSource] = self.encoder.alternatives()  # type: ignore[attr-defined]
        tried = {PINNED: lambda: sample.computation} | {
            name: partial(other.computation, size, self.where) for name, other in others.items()
        }
        items = list(self.snapshot.contents(sample.rows))
        return worse_text(input_trials(tried, items, targets, sample.reference))

    def _kept(
        self, computed: Iterable[tuple[list[str], NDArray[np.float32]]]
    ) -> Iterator[IdsAndVectors]:
        """Yield ids and vectors in the dtype of the output, of items with finite vectors."""
        for ids, vectors in computed:
            kept = self._stored(vectors)
            rows = _finite_rows(kept)
            yield [ids[row] for row in rows], kept[rows]


def _finite_rows(vectors: NDArray[np.floating]) -> NDArray[np.intp]:
    return np.flatnonzero(np.isfinite(vectors).all(axis=1))
