"""Processor seconds of train_head's sweep, and what streaming costs in accuracy.

1. 5,000 x 1,280 simulated features of ten classes, 20 strengths, at most 15 processor seconds; and
   what one writes without it: scikit-learn's StandardScaler and a LogisticRegression for each
   strength, chosen by log_loss.
2. Features of which both fit, held in memory and streamed: training and validation log-loss at the
   chosen strength may differ by 1/1000 of them.

Exits with 1 when a bound is missed. scikit-learn fits every fourth strength only, and four times as
long is taken for what all would take; `--peer-strengths 20` fits them all.

    python tests/benchmarks/bench_heads.py [--peer-strengths 5] [--items 60000]
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

sys.path.append(str(Path(__file__).parents[1]))

from simulated_features import World

from tfhub_blocks.compute.heads import linear_head
from tfhub_blocks.compute.heads.feature_splits import Split

MAX_CPU_S = 15.0
MAX_RELATIVE_DIFFERENCE = 1e-3
STRENGTHS = [float(value) for value in np.logspace(6, -2, 20)]


def two_splits(items: int) -> tuple[Split, Split, tuple[str, ...]]:
    """So many items for training, and a third of them for validation."""
    world, whole = World(1280, 10, distance=0.3), items + items // 3
    vectors, targets, _ = (
        np.concatenate(parts) for parts in zip(*world.batches(whole), strict=True)
    )
    ids = range(whole)
    train, validation = (
        Split(vectors[part], targets[part], [str(item) for item in ids[part]])
        for part in (slice(items), slice(items, whole))
    )
    return train, validation, world.labels


def sweep(peer_strengths: int) -> bool:
    train, validation, labels = two_splits(5000)
    start = time.process_time(), time.perf_counter()
    fit = linear_head.fit_head(train, validation, labels, STRENGTHS)
    cpu_s, wall_s = time.process_time() - start[0], time.perf_counter() - start[1]

    start = time.process_time(), time.perf_counter()
    scaler = StandardScaler().fit(train.features)
    scaled, scaled_validation = map(scaler.transform, (train.features, validation.features))
    every = len(STRENGTHS) // peer_strengths
    losses = {}
    for strength in STRENGTHS[::every]:
        model = LogisticRegression(C=1 / strength, max_iter=1000)
        model.fit(scaled, train.targets)
        losses[strength] = log_loss(validation.targets, model.predict_proba(scaled_validation))
    peer_cpu_s = (time.process_time() - start[0]) * every
    peer_wall_s = (time.perf_counter() - start[1]) * every

    print("5,000 x 1,280 features, 10 classes, 20 strengths; processor s, s")
    print(f"  train_head   {cpu_s:8.1f} {wall_s:8.1f}  (bound {MAX_CPU_S:g})")
    print(f"  scikit-learn {peer_cpu_s:8.1f} {peer_wall_s:8.1f}")
    print(f"  ratio        {peer_cpu_s / cpu_s:8.1f} {peer_wall_s / wall_s:8.1f}")
    ours = {record.strength: record.validation_log_loss for record in fit.sweep}
    print(
        f"  lowest validation log-loss: {min(ours[s] for s in losses):.5f}, "
        f"scikit-learn {min(losses.values()):.5f}"
    )
    return cpu_s <= MAX_CPU_S


def streaming(items: int) -> bool:
    train, validation, labels = two_splits(items)
    size = train.size_bytes / 2**20
    fits = {}
    for method, budget in (("held", train.size_bytes), ("streamed", train.size_bytes // 8)):
        linear_head.HELD_BYTES = budget
        linear_head.SAMPLE_BYTES = train.size_bytes // 16
        start = time.process_time(), time.perf_counter()
        fits[method] = linear_head.fit_head(train, validation, labels)
        cpu_s, wall_s = time.process_time() - start[0], time.perf_counter() - start[1]
        print(
            f"{method}: {items} x 1,280 ({size:.0f} MiB), {cpu_s:.1f} processor s, {wall_s:.1f} s"
        )
    held, streamed = (
        next(r for r in fit.sweep if r.strength == fits["streamed"].strength)
        for fit in (fits["held"], fits["streamed"])
    )
    print(f"  chosen: {fits['held'].strength:g} held, {fits['streamed'].strength:g} streamed")
    good = fits["held"].strength == fits["streamed"].strength
    for name in ("train_log_loss", "validation_log_loss"):
        exact, other = getattr(held, name), getattr(streamed, name)
        difference = abs(other - exact) / exact
        good &= difference <= MAX_RELATIVE_DIFFERENCE
        print(f"  {name}: {exact:.6f} held, {other:.6f} streamed, {difference:.1e} of it")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-strengths", type=int, default=5, choices=[4, 5, 10, 20])
    parser.add_argument("--items", type=int, default=60_000)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    return 0 if all([sweep(options.peer_strengths), streaming(options.items)]) else 1


if __name__ == "__main__":
    sys.exit(main())
