"""Shared work: a plan of parts, which several workers compute and a later attempt resumes.

Extraction and scoring follow it: the first worker selects an engine and writes the plan, each
worker computes the missing parts of its share, and the first worker waits for all parts and writes
the output. The contents of parts do not depend on the number of workers or on interruptions.
"""

# decisions 15, 17 and 89

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.inference.engine_interface import UnfitError
from tfhub_blocks.compute.inference.engine_list import ENGINES, REFERENCE
from tfhub_blocks.compute.inference.engine_selection import AUTO
from tfhub_blocks.compute.inference.parts import PartFiles
from tfhub_blocks.compute.inference.work_plan import WorkPlan, read_plan
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.compute.tf.tensorflow_setup import has_gpu
from tfhub_blocks.records.base.folders import Format

PARTS_FOLDER = "parts"

Selected = TypeVar("Selected")
Progress = Callable[[int, int], None]
# The number of a part, and the ids and vectors of some of its items.
Answers = Iterator[tuple[int, list[str], NDArray[np.float32]]]


@dataclass(frozen=True)
class InferenceOptions:
    """The options of computing and storing vectors.

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


class SharedWork(Protocol):
    """Work that is planned, shared between workers, and resumed."""

    def parts(self, share: Share) -> PartFiles:
        """Return the finished parts of all workers and attempts."""

    def compute(self, share: Share, progress: Progress) -> WorkPlan:
        """Compute a worker's share, and return the plan that all workers follow."""


def run_shared(
    run: StepRun,
    port: str,
    folder_format: Format,
    work: SharedWork,
    progress: Callable[[str], Progress],
    checked: Sequence[str] = (),
) -> tuple[WorkPlan, Share, Path] | None:
    """Compute the share of this worker of a step.

    Args:
        run: The step's run.
        port: The name of the output.
        folder_format: The format of the output.
        work: The work of all workers.
        progress: Returns, for a unit, a function to call with the units done and the total.
        checked: The inputs whose contents the work itself checks.

    Returns:
        The plan, the share and the empty folder to fill, for the first worker; None for others.
    """
    share = Share(run.work(port, checked=checked), run.worker.index, run.worker.count)
    if parts := work.parts(share).count():
        print(f"resuming after {parts} finished parts of an earlier attempt", flush=True)
    plan = work.compute(share, progress("items"))
    return (plan, share, run.begin_output(port, folder_format)) if run.worker.is_first else None


def plan_work(
    share: Share,
    select: Callable[[str | None], Selected],
    plan_for: Callable[[Selected], WorkPlan],
) -> tuple[WorkPlan, Selected]:
    """Return the plan of all workers, and the selected engine; the first worker writes the plan.

    Args:
        share: The share of this worker. A worker other than the first waits for the plan.
        select: Selects an engine, given the name of the plan's engine, or None without a plan.
        plan_for: Makes the plan for an engine.
    """
    plan = read_plan(share.folder, wait=share.index > 0)
    selected = select(plan.engine if plan else None)
    if plan is None:
        plan = plan_for(selected)
        plan.write(share.folder)
    return plan, selected


def compute_missing(
    plan: WorkPlan,
    share: Share,
    parts: PartFiles,
    answers: Callable[[list[int]], Answers],
    write: Callable[[int, Iterable[tuple[list[str], NDArray[np.float32]]]], None],
    progress: Progress,
) -> None:
    """Compute and write the missing parts of a share.

    Args:
        plan: The plan of all workers.
        share: The share of this worker.
        parts: The finished parts.
        answers: Yields the number of a part, ids and vectors, for the numbers of parts, in order.
        write: Writes a part, given its number, its ids and vectors.
        progress: Called with the items done and the total, of this share.
    """
    mine = plan.share(share.index, share.count)
    missing = [number for number in mine if parts.find(number) is None]
    for number in missing:
        parts.drop(number)  # what is damaged
    total = sum(len(plan.part(number)) for number in mine)
    done = total - sum(len(plan.part(number)) for number in missing)

    def counted(of_part: Answers) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        here = 0
        for _, ids, vectors in of_part:
            yield ids, vectors
            here += len(ids)
            progress(min(done + here, total), total)

    # One stream over all parts: while a part is written, the cores compute the next.
    for number, of_part in groupby(answers(missing), key=itemgetter(0)):
        write(number, counted(of_part))
        done += len(plan.part(number))
    progress(total, total)


def wait_progress(plan: WorkPlan, progress: Progress) -> Callable[[int], None]:
    """Return a function that reports the number of finished parts as items done."""
    total = len(plan.rows)
    return lambda finished: progress(min(finished * plan.part_rows, total), total)


def engine_to_try(options: InferenceOptions, earlier: str | None, items: int) -> str:
    """Return the engine to try, or auto for all engines.

    Args:
        options: The options, which may name an engine.
        earlier: The kind of the engine (``Engine.kind``) whose vectors could be reused, or None.
        items: The number of all items.
    """
    if options.engine != AUTO:
        return options.engine
    if earlier:
        # Another engine may be faster, but would have to compute all vectors again.
        name = earlier.partition("/")[0]
        with suppress(KeyError, UnfitError):
            if ENGINES[name].version and ENGINES[name].kind == earlier:
                return name
    return REFERENCE if items < options.least_to_compare else AUTO
