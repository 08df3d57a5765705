"""Trials of a real model in real processes."""

import numpy as np
import pytest

from tfhub_blocks.compute.latency.trials import LEAST_CALLS, STAGES, TrialPlan, run_trial
from tfhub_blocks.records.formats.runtimes import Runtime
from tfhub_blocks.records.formats.snapshots import open_snapshot

PLAN = TrialPlan(seconds=0.2, concurrency=(2,), batch_sizes=(4,))


@pytest.fixture(scope="module")
def contents(coloured_snapshot):
    batch = next(iter(open_snapshot(coloured_snapshot, "test").batches()))
    return batch["content"].to_pylist()[:8]


@pytest.fixture(scope="module")
def own(colours_model, contents):
    return run_trial(colours_model, Runtime(), contents, None, PLAN)


def test_trial_tells_stages_and_rates_apart_and_warming_up_from_the_rest(own, contents):
    trial, answers = own
    assert answers.shape == (len(contents), 3)
    assert trial.passed
    assert set(trial.calls_ms) == set(STAGES)
    assert {len(calls) for calls in trial.calls_ms.values()} == {len(trial.total_ms)}
    assert len(trial.total_ms) >= LEAST_CALLS
    assert 1000 * trial.cold_start_s > trial.total_ms[0]  # the first call is a part of it
    assert (set(trial.throughput), set(trial.batches)) == ({"2"}, {"4"})
    assert 0 < trial.cpu_ms < 1000
    assert trial.memory_mb > 50


@pytest.mark.slow
def test_runtime_that_answers_otherwise_is_not_timed(own, colours_model, contents):
    reference = own[1] + np.float32(0.001) * (own[1] == own[1].max(axis=1, keepdims=True))
    trial, _ = run_trial(colours_model, Runtime(), contents, reference, PLAN)
    assert not trial.passed
    assert trial.unlike == "a number differs by 0.001, more than 1e-05"
    assert trial.calls_ms == {}


def test_runtime_that_cannot_run_says_why(colours_model, contents, tmp_path):
    trial, answers = run_trial(tmp_path, Runtime(), contents, None, PLAN)
    assert trial.unfit == "the folder contains no model"
    assert answers.size == 0
