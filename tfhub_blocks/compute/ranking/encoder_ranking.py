"""The comparison of encoders on a sample of items: accuracy and speed, before a full run."""

# decision 20

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.data.draws import Drawn
from tfhub_blocks.compute.encoders.encoder import Encoder, load_pinned
from tfhub_blocks.compute.extraction.extraction import Extraction
from tfhub_blocks.compute.extraction.input_trials import (
    BATCH_SIZE,
    PINNED,
    InputTrial,
    input_trials,
)
from tfhub_blocks.compute.heads import interval_estimates
from tfhub_blocks.compute.heads.interval_estimates import IntervalEstimate
from tfhub_blocks.compute.heads.ridge import LeaveOneOut, leave_one_out
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share

WHERE = "encoder compare"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class EncoderTrial:
    """The result of one encoder on the sample."""

    encoder: str  # the folder, as the user passed it
    digest: str
    dimension: int
    answer: LeaveOneOut
    items_per_s: float  # without the start
    inputs: tuple[InputTrial, ...] = ()  # with other assumptions, if they were tried

    @property
    def seconds_per_1000(self) -> float:
        """Seconds for 1,000 items on the local machine, without start-up."""
        return 1000 / self.items_per_s


def ranked(trials: Sequence[EncoderTrial]) -> list[EncoderTrial]:
    """Sort by leave-one-out accuracy; of equally accurate encoders, the faster comes first."""
    return sorted(trials, key=lambda trial: (-trial.answer.accuracy.value, -trial.items_per_s))


def lead(first: EncoderTrial, other: EncoderTrial) -> IntervalEstimate:
    """Return one encoder's lead in accuracy over another, paired by item."""
    return interval_estimates.paired_difference(first.answer.hits, other.answer.hits)


def tried(
    folder: Path, drawn: Drawn, progress: Progress, with_assumptions: bool = False
) -> EncoderTrial:
    """Run one encoder on the sample, and measure the accuracy of its features.

    Args:
        folder: The folder of a pinned encoder.
        drawn: The sample.
        progress: Called with the number of items done, and their total.
        with_assumptions: True to try other assumptions about the input as well.

    Raises:
        BlocksError: The encoder is not as pinned, cannot be loaded, or does not take the items.
    """
    encoder = load_pinned(folder, f"{WHERE} {folder}")
    vectors, targets, rate = _extracted(encoder, drawn, progress)
    answer = leave_one_out(vectors, targets)
    inputs: tuple[InputTrial, ...] = ()
    if with_assumptions:
        others = {PINNED: encoder, **encoder.alternatives()}
        rows = np.arange(drawn.snapshot.manifest.items)
        inputs = tuple(
            input_trials(
                {name: partial(it.computation, BATCH_SIZE, WHERE) for name, it in others.items()},
                list(drawn.snapshot.contents(rows)),
                drawn.snapshot.targets(rows),
                progress=progress,
            )
        )
    return EncoderTrial(str(folder), encoder.digest, vectors.shape[1], answer, rate, inputs)


@dataclass
class _Clock:
    """A progress callback that measures the rate, from a tenth of the items on."""

    progress: Progress
    marks: list[tuple[int, float]] = field(default_factory=lambda: [(0, time.perf_counter())])

    def __call__(self, done: int, total: int) -> None:
        self.progress(done, total)
        now = done, time.perf_counter()
        if self.marks[0][0] < total / 10:
            self.marks = [now]
        self.marks[1:] = [now]

    def items_per_s(self) -> float:
        (first, begun), (last, ended) = self.marks
        return (last - first) / (ended - begun)


def _extracted(
    encoder: Encoder, drawn: Drawn, progress: Progress
) -> tuple[NDArray[np.floating], NDArray[np.int64], float]:
    """Return features [items, dimension], targets [items], and items per second.

    The engine is the one that a full run would select.
    """
    options = InferenceOptions(least_to_compare=0)
    extraction, clock = Extraction(drawn.snapshot, encoder, options, where=WHERE), _Clock(progress)
    with tempfile.TemporaryDirectory() as temporary:
        share = Share(Path(temporary))
        plan = extraction.compute(share, clock)
        parts = extraction.parts(share)
        vectors = [parts.read(number)[1] for number in plan.numbers]
        targets = drawn.snapshot.targets(plan.rows)
        return np.concatenate(vectors), targets, clock.items_per_s()
