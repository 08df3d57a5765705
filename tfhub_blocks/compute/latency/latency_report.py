"""The report of a latency check: a page, its plots, and all numbers as JSON."""

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
    "Measured over HTTP on loopback, with the scoring program in a process of its own. Requests "
    "are sent at even intervals, whether or not earlier requests were answered. A latency counts "
    "from the time at which its request was due, which avoids coordinated omission. The reference "
    "runtime is the model's own program, listed as own."
)


def write_report(folder: Path, check: Check, facts: Sequence[tuple[str, str]]) -> None:
    """Write ``latency.json``, the plots as PNG, and a self-contained ``report.html``."""
    drawn = _figures(check)
    for figure in drawn:
        (folder / f"{figure.title.lower().replace(' ', '-')}.png").write_bytes(figure.png)
    text = json.dumps(as_record(check), indent=1, ensure_ascii=False)
    (folder / "latency.json").write_text(f"{text}\n", encoding="utf-8")
    served, bound = check.served, stages_told(check.chosen)[0]
    report = EvaluationPage(
        title="Latency",
        summary=f"{served.runtime.name}: p50 {served.speeds.p50_ms:.2f} ms as served; most of a "
        f"call is {_stage(check.chosen, bound)}.",
        thresholds=[ThresholdResult(*told(it), it.measured, it.met) for it in check.thresholds],
        metrics=_metrics(check),
        classes=[],
        figures=drawn,
        mistakes=[],
        facts=[*[(it.runtime.name, _described(it)) for it in check.trials], *facts],
        notes=[METHOD, _warm_up(check.chosen)],
    )
    (folder / "report.html").write_text(render_report(report), encoding="utf-8")


def as_record(check: Check) -> dict[str, Any]:
    """Return all measurements, ready for JSON."""
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
    """Return the speeds as served, and percentiles with their intervals, for evidence."""
    speeds = asdict(check.served.speeds)
    found = {name: {"value": value} for name, value in speeds.items() if value is not None}
    return found | {f"p{n}_ms": asdict(it) for n, it in check.served.percentiles.items()}


def summary_values(check: Check) -> dict[str, float]:
    """Return the metrics of `metrics_of` as single numbers by name, for MLflow."""
    return {
        name if key == "value" else f"{name}_{key}": value
        for name, metric in metrics_of(check).items()
        for key, value in metric.items()
    }


def _metrics(check: Check) -> list[MetricRow]:
    served, speeds = check.served, check.served.speeds
    rate = served.main.offered_per_s
    rows = [
        MetricRow(f"p{n}, ms", it.value, (it.low, it.high), f"At {rate:.1f} requests per second")
        for n, it in served.percentiles.items()
    ]
    _, stages = stages_told(check.chosen)
    return [
        *rows,
        MetricRow("Items per second", speeds.items_per_s or 0, None, "While requests always wait"),
        MetricRow(
            "Cold start, s", speeds.cold_start_s or 0, None, "From process start to readiness"
        ),
        MetricRow("Memory, MB", speeds.memory_mb or 0, None, "Peak memory of the process"),
        MetricRow("In process, p50 ms", check.chosen.p50_ms, None, "One item at a time"),
        MetricRow(
            "Speed relative to the reference runtime",
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
            histogram_png(served.main.latencies_ms, marks, "Latency of answers"),
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
            f"at most {max(load.answered_per_s for load in loads):.1f} answers per second",
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


def _described(trial: RuntimeTrial) -> str:
    if not trial.passed:
        return f"not eligible: {trial.unfit or trial.unlike}"
    return (
        f"p50 {trial.p50_ms:.2f} ms in process, {trial.cpu_ms:.2f} ms of processor time, differs "
        f"by {trial.difference:.1g}, cold start {trial.cold_start_s:.1f} s"
    )


def _warm_up(trial: RuntimeTrial) -> str:
    calls = trial.total_ms
    if not trial.steady:
        return "The first call took no longer than later calls."
    count = f"{trial.steady} call{'' if trial.steady == 1 else 's'}"
    return (
        f"Warming up took {count}, the first {calls[0]:.1f} ms; after that the median was "
        f"{trial.p50_ms:.2f} ms. No percentile includes calls of the warm-up."
    )


def _stage(trial: RuntimeTrial, stage: str) -> str:
    """Return a stage's name; the reference runtime decodes within the graph."""
    return (
        "decoding and the forward pass"
        if stage == "forward" and trial.runtime.engine == "own"
        else {
            "decode": "decoding",
            "forward": "the forward pass",
            "serialise": "serialisation",
        }[stage]
    )
