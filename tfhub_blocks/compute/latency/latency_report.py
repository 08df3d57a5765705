"""The report of a check of latency: a page, its figures, and all numbers as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.evaluation.evaluation_report import (
    EvaluationPage,
    MetricRow,
    ReportFigure,
    ThresholdResult,
    render_report,
)
from tfhub_blocks.compute.latency.latency_budget import told
from tfhub_blocks.compute.latency.latency_check import Check, stages_told
from tfhub_blocks.compute.latency.latency_figures import histogram_png, throughput_png
from tfhub_blocks.compute.latency.percentiles import percentile
from tfhub_blocks.compute.latency.request_load import Load
from tfhub_blocks.compute.latency.trials import RuntimeTrial
from tfhub_blocks.records.base.folders import Format

FORMAT = Format("latency_report", 1)
METHOD = (
    "Measured over HTTP on loopback, against the scoring program in a process of its own. Requests "
    "arrive at even distances whether or not earlier ones were answered, and a latency counts from "
    "when its request was due: coordinated omission is avoided."
)


def write_report(folder: Path, check: Check, facts: Sequence[tuple[str, str]]) -> None:
    """Write ``latency.json``, the figures as PNG, and one self-contained ``report.html``."""
    drawn = _figures(check)
    for figure in drawn:
        (folder / f"{figure.title.lower().replace(' ', '-')}.png").write_bytes(figure.png)
    text = json.dumps(as_record(check), indent=1, ensure_ascii=False)
    (folder / "latency.json").write_text(f"{text}\n", encoding="utf-8")
    served, bound = check.served, stages_told(check.chosen)[0]
    report = EvaluationPage(
        title="Latency",
        summary=f"{served.runtime.name}: p50 {served.speeds.p50_ms:.2f} ms as served, bound by "
        f"{_stage(check.chosen, bound)}.",
        thresholds=[ThresholdResult(*told(it), it.measured, it.met) for it in check.thresholds],
        metrics=_metrics(check),
        classes=[],
        figures=drawn,
        mistakes=[],
        facts=[*[(it.runtime.name, _told(it)) for it in check.trials], *facts],
        notes=[METHOD, _warm_up(check.chosen)],
    )
    (folder / "report.html").write_text(render_report(report), encoding="utf-8")


def as_record(check: Check) -> dict[str, Any]:
    """All that was measured, JSON-ready."""
    served = check.served
    bound, stages = stages_told(check.chosen)
    return {
        "runtime": asdict(served.runtime),
        "thresholds": [asdict(threshold) for threshold in check.thresholds],
        "served": {
            "percentiles_ms": {f"p{n}": asdict(it) for n, it in served.percentiles.items()},
            "items_per_s_by_concurrency": served.capacity,
            "loads": [_load(load) for load in (served.main, *served.curve)],
        },
        "in_process": {
            "bound_by": bound,
            "stages_ms": stages,
            "warm_up_calls_ms": check.chosen.total_ms[: check.chosen.steady].tolist(),
            "items_per_s_by_batch_size": check.chosen.batches,
            "faster_than_own": check.own.p50_ms / check.chosen.p50_ms,
        },
        "candidates": [_candidate(trial) for trial in check.trials],
    }


def metrics_of(check: Check) -> dict[str, dict[str, float]]:
    """The speeds as served, percentiles with the ends of their intervals, for evidence."""
    speeds = asdict(check.served.speeds)
    found = {name: {"value": value} for name, value in speeds.items() if value is not None}
    return found | {f"p{n}_ms": asdict(it) for n, it in check.served.percentiles.items()}


def summary_values(check: Check) -> dict[str, float]:
    """The same, each number by a name for MLflow."""
    return {
        name if key == "value" else f"{name}_{key}": value
        for name, metric in metrics_of(check).items()
        for key, value in metric.items()
    }


def _metrics(check: Check) -> list[MetricRow]:
    served, speeds = check.served, check.served.speeds
    rate = served.main.offered_per_s
    rows = [
        MetricRow(f"p{n}, ms", it.value, (it.low, it.high), f"at {rate:.1f} requests a second")
        for n, it in served.percentiles.items()
    ]
    _, stages = stages_told(check.chosen)
    return [
        *rows,
        MetricRow("Items a second", speeds.items_per_s or 0, None, "While some always wait"),
        MetricRow("Cold start, s", speeds.cold_start_s or 0, None, "From process to readiness"),
        MetricRow("Memory, MB", speeds.memory_mb or 0, None, "The most that the process held"),
        MetricRow("In process, p50 ms", check.chosen.p50_ms, None, "One item after another"),
        MetricRow(
            "Times as fast as its own program",
            check.own.p50_ms / check.chosen.p50_ms,
            None,
            "p50 in process",
        ),
        *(
            MetricRow(f"{_stage(check.chosen, stage).capitalize()}, ms", value, None, "In process")
            for stage, value in stages.items()
        ),
    ]


def _figures(check: Check) -> list[ReportFigure]:
    served = check.served
    loads = sorted((served.main, *served.curve), key=lambda load: load.offered_per_s)
    loads = [load for load in loads if len(load.latencies_ms)]
    marks = [(f"p{n}", it.value) for n, it in served.percentiles.items()]
    return [
        ReportFigure(
            "Latency histogram",
            histogram_png(served.main.latencies_ms, marks, "How long an answer takes"),
            ", ".join(f"{name} {value:.2f} ms" for name, value in marks),
        ),
        ReportFigure(
            "Throughput curve",
            throughput_png(
                [load.offered_per_s for load in loads],
                [load.answered_per_s for load in loads],
                [percentile(load.latencies_ms, 50).value for load in loads],
                [percentile(load.latencies_ms, 99).value for load in loads],
            ),
            f"at most {max(load.answered_per_s for load in loads):.1f} answers in a second",
        ),
    ]


def _load(load: Load) -> dict[str, float]:
    found = {"offered_per_s": load.offered_per_s, "answered_per_s": load.answered_per_s}
    if len(load.latencies_ms):
        found |= {f"p{n}_ms": percentile(load.latencies_ms, n).value for n in (50, 99)}
    return found | {"requests": len(load.latencies_ms) + load.failed, "failed": load.failed}


def _candidate(trial: RuntimeTrial) -> dict[str, Any]:
    record: dict[str, Any] = {"runtime": trial.runtime.name, "passed": trial.passed}
    if trial.unfit:
        return record | {"unfit": trial.unfit}
    record |= {"difference": trial.difference, "cold_start_s": trial.cold_start_s}
    if trial.unlike:
        return record | {"unlike": trial.unlike}
    return record | {
        "p50_ms": trial.p50_ms,
        "cpu_ms": trial.cpu_ms,
        "memory_mb": trial.memory_mb,
        "items_per_s_by_concurrency": trial.throughput,
        "items_per_s_by_batch_size": trial.batches,
    }


def _told(trial: RuntimeTrial) -> str:
    if not trial.passed:
        return f"did not count: {trial.unfit or trial.unlike}"
    return (
        f"p50 {trial.p50_ms:.2f} ms in process, {trial.cpu_ms:.2f} ms of processor time, differs "
        f"by {trial.difference:.1g}, cold start {trial.cold_start_s:.1f} s"
    )


def _warm_up(trial: RuntimeTrial) -> str:
    calls = trial.total_ms
    if not trial.steady:
        return "The first call took no longer than later ones."
    told = f"{trial.steady} call{'' if trial.steady == 1 else 's'}"
    return (
        f"Warming up took {told}, the first {calls[0]:.1f} ms; after that the median was "
        f"{trial.p50_ms:.2f} ms. No percentile counts what was warming up."
    )


def _stage(trial: RuntimeTrial, stage: str) -> str:
    """A stage's name; its own program decodes within the graph."""
    return (
        "decoding and forward pass"
        if stage == "forward" and trial.runtime.engine == "own"
        else {
            "decode": "decoding",
            "forward": "the forward pass",
            "serialise": "serialisation",
        }[stage]
    )
