"""Scoring: a model applied to each place of some data, in parts, like extraction.

A part is a range of places, with a row for each place. Within a part, equal contents are scored
once. Contents of earlier predictions are not scored again. A content that cannot be read or decoded
gets the reason instead of an answer. Parts do not depend on the number of workers or on
interruptions.
"""

# decision 39

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.compute.inference.computations import Item
from tfhub_blocks.compute.inference.parts import PartFiles
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
from tfhub_blocks.compute.inference.work_plan import MOST_ROWS, WorkPlan, rows_of_part
from tfhub_blocks.compute.predictions.prediction_columns import EarlierAnswers, answer_table
from tfhub_blocks.compute.predictions.scorers import BatchScorer, Ready
from tfhub_blocks.compute.predictions.scoring_rows import PORT, WHERE, ScoringRows
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.predictions import Predictions, predictions_schema

FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Read:
    """A place that was read: the id of its content, or the reason why it is not scored."""

    path: str
    item: str | None
    fault: str | None


@dataclass(frozen=True, eq=False)
class Scoring:
    """The scoring of some places: the model, the places, and options.

    ``model_version`` is the text about the model in each row. ``top_k`` is the number of largest
    probabilities to keep; None keeps all. If the fraction of places without an answer is more than
    ``max_unreadable``, the scoring fails.
    """

    model: BatchScorer
    places: ScoringRows
    model_version: str
    options: InferenceOptions
    top_k: int | None = None
    previous: Predictions | None = None
    max_unreadable: float = 0.01

    def compute(self, share: Share, progress: Progress) -> WorkPlan:
        """Score one worker's share, and return the plan of all workers.

        Memory contains a few batches, the rows of two parts, and the indexes of places and of
        earlier predictions.

        Args:
            share: The worker's share.
            progress: Called with the number of places done, and their total, of this share.

        Raises:
            BlocksError: No engine fits and passes the comparison, no item can be decoded, too many
                items cannot be decoded, or the data changed during the scoring.
        """
        share = self._own(share)
        size = self.model.batch_size(self.options)
        plan, ready = plan_work(share, self._ready, lambda ready: self._plan(ready, size))
        earlier = self.earlier(plan.kind)
        parts = self.parts(share)
        self._drop_changed(parts, plan, share)
        read: dict[int, list[Read]] = {}
        faults: dict[str, str] = {}
        unreadable = 0

        def answers(numbers: list[int]) -> Answers:
            batches = self._batches(plan, numbers, earlier, size, read)
            return ready.answers(batches, faults.__setitem__)

        def write(number: int, computed: Iterable[tuple[list[str], NDArray[np.float32]]]) -> None:
            nonlocal unreadable
            ids, vectors = zip(*computed, strict=True)
            here = list(chain.from_iterable(ids))
            table = self._table(read.pop(number), here, np.concatenate(vectors), earlier, faults)
            parts.write_batches(number, table.schema, table.to_batches())
            unreadable += table.num_rows - table["error"].null_count
            self.check_unreadable(unreadable, table)

        compute_missing(plan, share, parts, answers, write, progress)
        return plan

    def parts(self, share: Share) -> PartFiles:
        """Return the finished parts of all workers and attempts."""
        return PartFiles(self._own(share).folder / PARTS_FOLDER)

    @property
    def schema(self) -> pa.Schema:
        """The columns of the predictions."""
        return predictions_schema(self.top_k, self.keep_features)

    @property
    def keep_features(self) -> bool:
        """True if each answer contains the features."""
        return self.model.keep_features

    def earlier(self, kind: str) -> EarlierAnswers:
        """Return the answers of earlier predictions that an engine would reproduce."""
        return EarlierAnswers(self.reusable(kind)[0], self.top_k, self.keep_features)

    def reusable(self, kind: str) -> tuple[Predictions | None, str]:
        """Return the earlier predictions if an engine would reproduce them, else the reason."""
        if self.previous is None:
            return None, ""
        made = self.previous.manifest
        asked = (self.model.digest, kind, self.options.precision, self.top_k)
        had = (made.model_digest, made.engine, made.precision, made.top_k)
        names = ("model", "engine", "engine_precision", "top_k")
        for name, before, now in zip(names, had, asked, strict=True):
            if before != now:
                return None, f"{name} was {before}, and is now {now}"
        if self.keep_features and not made.dimension:
            return None, "they contain no features"
        return self.previous, ""

    def check_unreadable(self, count: int, some: pa.Table) -> None:
        """Check that not too many places lack an answer.

        Args:
            count: The number of places without an answer.
            some: Rows that contain some of these places, for the message.

        Raises:
            BlocksError: Too many places lack an answer.
        """
        if count <= self.max_unreadable * self.places.total:
            return
        named = some.filter(some["error"].is_valid()).slice(0, FAULTS_SHOWN).to_pylist()
        shown = "; ".join(f"{row['path']}: {row['error']}" for row in named)
        raise BlocksError(
            WHERE,
            "max_unreadable_fraction",
            f"{count} of {self.places.total} items cannot be scored, such as {shown}",
            f"at most a fraction of {self.max_unreadable:.4g}",
            "Fix or remove these items, or set max_unreadable_fraction above "
            f"{self.max_unreadable:.4g}",
        )

    def _own(self, share: Share) -> Share:
        """Return the share with a folder of its own for these places."""
        name = self.places.key[:20]
        return share if share.work.name == name else replace(share, work=share.work / name)

    def _plan(self, ready: Ready, size: int) -> WorkPlan:
        report: dict[str, Any] = {**ready.report, "earlier": "predictions"}
        _, why_not = self.reusable(ready.kind)
        if why_not:
            report["not_reused"] = why_not
        rows = np.arange(self.places.total)
        return WorkPlan(ready.engine, ready.kind, rows, rows_of_part(len(rows), size), report)

    def _earlier_engine(self) -> str | None:
        """Return the kind of engine whose earlier predictions could be reused."""
        kind = self.previous.manifest.engine if self.previous else None
        return kind if kind and not self.reusable(kind)[1] else None

    def _ready(self, planned: str | None) -> Ready:
        """Return the engine of the plan, or the one to plan for, after a trial on some items."""
        total, seen = self.places.total, set[str]()
        spans = [range(s, min(s + MOST_ROWS, total)) for s in range(0, total, MOST_ROWS)]

        def is_new(item: str) -> bool:
            before = len(seen)
            seen.add(item)
            return len(seen) > before

        rows = self.places.read(spans, is_new)
        items = ((row.item, row.content) for row in rows if row.item and row.content is not None)
        asked = engine_to_try(self.options, self._earlier_engine(), total)
        ready = self.model.ready(planned or asked, self.options, items)
        rows.close()
        if ready is None:
            raise BlocksError(
                WHERE,
                PORT,
                f"none of the {self.places.total} items can be decoded",
                f"items of modality {self.places.modality} that the model takes",
                "Check with one item that data and model fit together",
            )
        return ready

    def _drop_changed(self, parts: PartFiles, plan: WorkPlan, share: Share) -> None:
        """Remove the parts whose contents have changed; the first worker checks all parts."""
        numbers = plan.numbers if share.index == 0 else plan.share(share.index, share.count)
        found = [number for number in numbers if parts.find(number) is not None]
        spans = {number: self._span(plan, number) for number in found}
        ids = (parts.table(number)["id"].to_pylist() for number in found)
        changed = self.places.changed(list(spans.values()), ids)
        for number in found:
            if spans[number] in changed:
                parts.drop(number)

    def _span(self, plan: WorkPlan, number: int) -> range:
        rows = plan.part(number)
        return range(int(rows[0]), int(rows[-1]) + 1)

    def _batches(
        self,
        plan: WorkPlan,
        numbers: Sequence[int],
        earlier: EarlierAnswers,
        size: int,
        read: dict[int, list[Read]],
    ) -> Iterator[tuple[int, list[Item]]]:
        """Yield the items to compute in batches, and add the places of each part to ``read``.

        Each part has at least one batch, which may be empty.
        """
        spans = [self._span(plan, number) for number in numbers]
        rows = self.places.read(spans, lambda item: item not in earlier)
        for number, span in zip(numbers, spans, strict=True):
            here: list[Read] = []
            asked: set[str] = set()
            batch: list[Item] = []
            read[number] = here
            for row in islice(rows, len(span)):
                here.append(Read(row.path, row.item, row.fault))
                if row.content is not None and row.item is not None and row.item not in asked:
                    asked.add(row.item)
                    batch.append((row.item, row.content))
                if len(batch) == size:
                    yield number, batch
                    batch = []
            yield number, batch

    def _table(
        self,
        rows: Sequence[Read],
        ids: Sequence[str],
        vectors: NDArray[np.float32],
        earlier: EarlierAnswers,
        faults: Mapping[str, str],
    ) -> pa.Table:
        """Return the rows of a part, from its places and their answers."""
        computed = set(ids)
        known = {row.item for row in rows if row.item and not row.fault} - computed - faults.keys()
        items = [*ids, *sorted(known)]
        answers = [
            answer_table(vectors, self.model.labels, self.top_k, self.keep_features),
            earlier.take(sorted(known)),
        ]
        index = {item: number for number, item in enumerate(items)}
        errors = [row.fault or faults.get(row.item or "") for row in rows]
        places = [
            None if error else index[row.item or ""]
            for row, error in zip(rows, errors, strict=True)
        ]
        chosen = pa.concat_tables(answers).combine_chunks().take(pa.array(places, pa.int64()))
        columns = [
            pa.array([row.path for row in rows]),
            pa.array([row.item for row in rows], pa.string()),
            *chosen.columns,
            pa.array(errors, pa.string()),
            pa.array([self.model_version] * len(rows)),
        ]
        return pa.table(columns, schema=self.schema).combine_chunks()
