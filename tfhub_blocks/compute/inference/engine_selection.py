"""Selection of the engine: the parity and the speed of each candidate are measured first."""

# decisions 14 and 96

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.inference.computations import Computation, Item, batched, check_finite
from tfhub_blocks.compute.inference.engine_interface import Engine, Forward, Precision, UnfitError
from tfhub_blocks.compute.inference.engine_list import ENGINES, REFERENCE
from tfhub_blocks.compute.inference.parity import Parity, measure_parity
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.cores import core_count
from tfhub_blocks.records.base.errors import BlocksError

AUTO = "auto"
# Engines are timed in turns, until one is clearly faster, or until each was timed so long.
ROUND_S, TIMED_S = 0.25, 1.0
# Clearly faster after one round is 1.5 times as fast, after two rounds 1.25 times, and so on.
CLEARLY = 0.5
# Other kernels and half types cause less; dropout and statistics of a batch cause more.
COMPANY_LIMIT = 0.03
# Another engine must be faster by more than equal engines differ on a busy machine.
WORTHWHILE = 1.1


@dataclass(frozen=True, eq=False)
class ParitySample:
    """Some real items, prepared, with the vectors of the model as served.

    ``counts`` are the numbers of items in each batch; other rows fill the batch. ``rows`` are the
    rows of the sample's items among these.
    """

    computation: Computation
    ids: Sequence[str]
    batches: Sequence[Any]
    counts: Sequence[int]
    reference: NDArray[np.float32]
    rows: NDArray[np.intp]

    def vectors(self, forward: Forward) -> NDArray[np.float32]:
        """Return the vectors of a forward pass for the sample, [items, dimension]."""
        pairs = zip(self.batches, self.counts, strict=True)
        given = [self.computation.flat(forward(batch))[:count] for batch, count in pairs]
        return np.concatenate(given)[self.rows]


@dataclass(frozen=True, eq=False)
class Selected:
    """An engine that passed, ready to compute, with its vectors for the sample.

    ``candidates`` contains the findings for each tried engine, ready for JSON.
    """

    engine: Engine
    forward: Forward
    parity: Parity
    vectors: NDArray[np.float32]
    candidates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def take_sample(computation: Computation, items: Sequence[Item]) -> ParitySample:
    """Return a sample of one item or more; items without finite features are left out.

    Raises:
        BlocksError: An item cannot be decoded, or no item has finite features.
    """
    return sample_of(
        computation,
        [
            ([item for item, _ in batch], computation.prepared(batch))
            for batch in batched(items, computation.batch_size)
        ],
    )


def sample_of(computation: Computation, held: Sequence[tuple[Sequence[str], Any]]) -> ParitySample:
    """Return a sample of one or more prepared batches, each with the ids of its items.

    Items without finite features are left out.

    Raises:
        BlocksError: No item has finite features.
    """
    ids = [item for items, _ in held for item in items]
    batches, counts = [prepared for _, prepared in held], [len(items) for items, _ in held]
    none = np.empty((0, computation.dimension), np.float32)
    sample = ParitySample(computation, ids, batches, counts, none, np.arange(len(ids)))

    def reference(batch: Any) -> NDArray[np.float32]:
        given = tf.nest.map_structure(tf.convert_to_tensor, batch)
        return np.asarray(tf.nest.flatten(computation.forward(given))[0])

    served = sample.vectors(reference)
    _check_company(replace(sample, reference=served), reference)
    rows = np.flatnonzero(np.isfinite(served).all(axis=1))
    if not rows.size:
        check_finite(ids, served, computation.where)
    kept = [ids[row] for row in rows]
    return replace(sample, ids=kept, reference=served[rows], rows=rows)


def _check_company(sample: ParitySample, reference: Callable[[Any], NDArray[np.float32]]) -> None:
    """Check that vectors of real items depend on the item only.

    The first batch is computed again, in the reverse order, and with its first item in each row.

    Raises:
        BlocksError: A vector depends on the other items, on their order, or on the call.
    """
    computation, count = sample.computation, sample.counts[0]
    batch, before = sample.batches[0], sample.reference[:count]
    size = computation.batch_size

    def seen(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = (
            batch[rows]
            if isinstance(batch, np.ndarray)
            else tf.nest.map_structure(lambda each: tf.gather(each, rows), batch)
        )
        return computation.flat(reference(chosen))

    forwards = np.arange(size)
    for problem, rows in (
        ("the vector of item {} is another at each call", forwards),
        ("the vector of item {} depends on the order of its batch", forwards[::-1]),
        ("the vector of item {} depends on the other items of its batch", forwards * 0),
    ):
        again = seen(rows)
        for row, vector in zip(rows, again, strict=True):
            if row >= count or not np.isfinite(before[row]).all():
                continue
            largest = max(float(np.abs(before[row]).max(initial=0)), 1e-12)
            # False for a NaN.
            if not float(np.abs(vector - before[row]).max(initial=0)) <= COMPANY_LIMIT * largest:
                raise BlocksError(
                    computation.where,
                    "encoder",
                    problem.format(sample.ids[row]),
                    "a vector that depends on one item only",
                    "Pin the encoder again with a signature for inference, or choose another "
                    "encoder",
                )


def select_engine(asked: str, precision: str, limit: float, sample: ParitySample) -> Selected:
    """Return the requested engine; for ``auto``, the fastest engine that can run and passes.

    Candidates are timed on the sample in turns, with all cores, for a second each, or less if one
    is clearly faster. An engine other than the reference must be faster by a tenth.

    Args:
        asked: The name of an engine, or ``auto``.
        precision: The number type of products, which is never chosen automatically.
        limit: The largest difference that passes (``Parity``).
        sample: The computation, and items of its data.

    Raises:
        BlocksError: The requested engine cannot run this computation on this machine or does not
            pass, or no engine does.
    """
    computation = sample.computation
    passed: dict[str, Selected] = {}
    candidates: dict[str, dict[str, Any]] = {}
    for name in ENGINES if asked == AUTO else (asked,):
        record = candidates.setdefault(name, {})
        try:
            record["kind"], record["version"] = ENGINES[name].kind, ENGINES[name].version
            forward = ENGINES[name].compiled(computation.forward, cast(Precision, precision))
        except UnfitError as reason:
            record["unfit"] = str(reason)
            continue
        vectors = sample.vectors(forward)
        parity = measure_parity(sample.ids, vectors, sample.reference)
        record["parity"] = asdict(parity)
        if parity.largest <= limit:
            passed[name] = Selected(ENGINES[name], forward, parity, vectors, candidates)
    if not passed:
        raise _none_passed(computation.where, asked, precision, limit, candidates)
    if len(passed) == 1:
        return next(iter(passed.values()))
    rates = _rates({name: candidate.forward for name, candidate in passed.items()}, sample)
    for name, rate in rates.items():
        candidates[name]["items_per_s"] = rate
    fastest = max(rates, key=lambda name: rates[name] * (WORTHWHILE if name == REFERENCE else 1))
    return passed[fastest]


def _rates(forwards: Mapping[str, Forward], sample: ParitySample) -> dict[str, float]:
    """Return the items per second of each forward pass, two or more, on all cores."""
    items, seconds = dict.fromkeys(forwards, 0), dict.fromkeys(forwards, 0.0)
    number = 0
    while True:
        number += 1
        for name, forward in forwards.items():
            computed, lasted_s = _timed(forward, sample)
            items[name] += computed
            seconds[name] += lasted_s
        rates = {name: items[name] / seconds[name] for name in forwards}
        second, first = sorted(rates.values())[-2:]
        if first >= (1 + CLEARLY / number) * second or min(seconds.values()) >= TIMED_S:
            return rates


def _timed(forward: Forward, sample: ParitySample) -> tuple[int, float]:
    """Return the items that the forward pass computes in a round, on all cores, and its seconds."""
    cores = core_count()
    started = time.perf_counter()
    end = started + ROUND_S

    def run(first: int) -> int:
        done = 0
        while time.perf_counter() < end:
            forward(sample.batches[(first + done) % len(sample.batches)])
            done += 1
        return done

    with ThreadPoolExecutor(cores) as pool:
        batches = sum(pool.map(run, range(cores)))
    return batches * sample.computation.batch_size, time.perf_counter() - started


def _none_passed(
    where: str,
    asked: str,
    precision: str,
    limit: float,
    candidates: Mapping[str, Mapping[str, Any]],
) -> BlocksError:
    """Return the error for the requested engine, or for the first candidate, the reference."""
    for name, record in candidates.items():
        if "parity" in record:
            parity = record["parity"]
            return BlocksError(
                where,
                f"engine {name}",
                f"features of item {parity['worst_item']} in {precision} differ by "
                f"{parity['largest']:.2g} from the features of the model as served",
                f"a difference of at most {limit:g}, relative to the length of the vector",
                "Set engine=tensorflow"
                if precision == "float32"
                else "Set engine_precision=float32, or allow the difference with "
                "engine_max_difference",
            )
    reasons = "; ".join(f"{name}: {record['unfit']}" for name, record in candidates.items())
    return BlocksError(
        where,
        f"engine {asked}",
        f"engine {asked} cannot compute this encoder in {precision} on this machine ({reasons})",
        "",
        "Set engine=tensorflow"
        if precision == "float32"
        else "Set engine=tensorflow, and engine_precision=float32",
    )
