"""Budgets held against what was measured, and what candidates there are."""

from tfhub_blocks.compute.latency.latency_budget import (
    hold_budget,
    hold_differences,
    missed_error,
    with_decided,
)
from tfhub_blocks.compute.latency.latency_check import Choice
from tfhub_blocks.compute.latency.trials import STAGES, RuntimeTrial
from tfhub_blocks.records.formats.evidence import Threshold
from tfhub_blocks.records.formats.runtimes import Runtime, Speeds
from tfhub_blocks.records.pins.pins import Decisions

MEASURED = Speeds(5.0, 8.0, 12.0, items_per_s=180.0, cold_start_s=6.0, memory_mb=700.0)


def test_only_what_is_asked_for_is_held_each_bound_in_its_direction():
    held = hold_budget(Speeds(p50_ms=5.0, p99_ms=11.0, items_per_s=200.0), MEASURED)
    assert held == (
        Threshold("max_p50_ms", 5.0, 5.0, True),
        Threshold("max_p99_ms", 11.0, 12.0, False),
        Threshold("min_items_per_s", 200.0, 180.0, False),
    )
    assert hold_budget(Speeds(), MEASURED) == ()


def test_what_the_pin_decides_for_one_item_bounds_p99():
    decided = Decisions("mounted", "allowed", "realtime", 20.0)
    assert with_decided(Speeds(), decided) == Speeds(p99_ms=20.0)
    assert with_decided(Speeds(p99_ms=30.0), decided) == Speeds(p99_ms=20.0)
    assert with_decided(Speeds(p99_ms=10.0), decided) == Speeds(p99_ms=10.0)
    assert with_decided(Speeds(p50_ms=1.0), Decisions()) == Speeds(p50_ms=1.0)


def test_label_that_differs_meets_no_tolerance():
    (held,) = hold_differences({"max_difference_from_own": float("inf")}, 1.0, "bfloat16")
    assert not held.met


def test_error_names_each_bound_that_was_missed(golden):
    budget = Speeds(5.0, 8.0, 11.0, items_per_s=200.0, cold_start_s=5.0, memory_mb=512.0)
    differences = hold_differences({"max_difference_from_evaluation": 0.02}, 0.1, "float32")
    held = [*differences, *hold_budget(budget, MEASURED)]
    missed = [threshold for threshold in held if not threshold.met]
    error = missed_error(missed, "openvino float32, 2 threads", "check_latency")
    golden("missed", f"{error}\n")


def test_candidates_are_all_combinations_and_fill_the_cores():
    choice = Choice(("own", "openvino"), ("float32", "bfloat16"), (1, 4), (1, 8), (0.0, 2.0))
    names = [(it.name, it.concurrency) for it in choice.runtimes(4)]
    assert names == [
        ("openvino float32, 1 thread", 4),
        ("openvino float32, 4 threads", 1),
        ("openvino bfloat16, 1 thread", 4),
        ("openvino bfloat16, 4 threads", 1),
    ]
    first = next(choice.runtimes(4))
    batches = [(it.largest_batch, it.batch_window_ms) for it in choice.windows(first)]
    assert batches == [(1, 0.0), (8, 0.0), (8, 2.0)]


def test_three_of_the_fastest_are_tried_as_served_each_with_every_window():
    choice = Choice(("openvino",), ("float32",), (1,), (1, 8), (0.0, 2.0))
    trials = [
        RuntimeTrial(
            Runtime("tensorflow", threads=n), calls_ms={it: [float(n)] * 40 for it in STAGES}
        )
        for n in (4, 1, 3, 2)
    ]
    tried = [(it.threads, it.largest_batch) for _, it in choice.finalists(trials)]
    assert tried == [(n, size) for n in (1, 2, 3) for size in (1, 8, 8)]
