"""check_latency: the runtime that answers soonest and the same, within a budget, as served."""

from dataclasses import replace
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.runtimes import OWN, Speeds
from tfhub_blocks.records.formats.snapshots import open_snapshot


@command_component(
    version="1.0.0",
    display_name="Check latency",
    description="Try a model's own program and other runtimes on real items, keep those that "
    "answer the same, measure the fastest over HTTP under a load on schedule, and hold it to a "
    "budget. A budget that is not kept fails the step.",
    environment="azureml:tfhub-blocks-gpu:cf87ef4816ab",
    tags={"role": "cpu", "category": "evaluate"},
)
def check_latency(
    snapshot: Input(type="uri_folder", description="Real items; those of its test split are asked"),
    report: Output(type="uri_folder", description="report.html, latency.json and figures as PNG"),
    evidence: Output(type="uri_file", description="What was measured of what, as a statement"),
    served_model: Output(
        type="mlflow_model", description="What was given, and the runtime that was chosen"
    ),
    model: Input(
        type="mlflow_model",
        optional=True,
        description="A model from train_head or fine_tune, or any that MLflow wrote",
    ) = None,
    encoder: Input(
        type="custom_model",
        optional=True,
        description="An encoder with a classifier of its own, instead of a model",
    ) = None,
    evaluation: Input(
        type="uri_folder",
        optional=True,
        description="What evaluate reported of this model on this snapshot: served answers are "
        "held against those of 200 items; register_model wants that",
    ) = None,
    compute_size: Input(
        type="string",
        optional=True,
        description="What Azure calls this machine, such as Standard_D2ds_v5; a step cannot ask, "
        "so it is believed",
    ) = None,
    p50_ms: Input(type="number", optional=True, min=0.0, description="Budget: most p50") = None,
    p95_ms: Input(type="number", optional=True, min=0.0, description="Budget: most p95") = None,
    p99_ms: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Budget: most p99; or what the encoder's pin decides, if that is less",
    ) = None,
    items_per_s: Input(
        type="number",
        optional=True,
        min=0.001,
        description="Budget: least items in a second; percentiles are measured at this rate",
    ) = None,
    cold_start_s: Input(
        type="number", optional=True, min=0.0, description="Budget: most seconds until ready"
    ) = None,
    memory_mb: Input(
        type="number", optional=True, min=0.0, description="Budget: most memory, in 10**6 bytes"
    ) = None,
    tolerance: Input(
        type="number",
        min=0.0,
        max=1.0,
        description="Candidates: how far a probability may be from that of the model's own program",
    ) = 1e-5,
    engines: Input(
        type="string", description="Candidates: what computes, with commas between"
    ) = "own, tensorflow, openvino",
    precisions: Input(
        type="string", description="Candidates: what products are computed in"
    ) = "float32, bfloat16",
    threads: Input(
        type="string", description="Candidates: threads of one computation; auto is 1 and all cores"
    ) = "auto",
    batch_sizes: Input(
        type="string", description="Candidates: most items that are computed together"
    ) = "1",
    windows_ms: Input(
        type="string", description="Candidates: how long a batch waits for more items"
    ) = "2",
    concurrency: Input(
        type="string", description="Load: how many wait at once while capacity is measured"
    ) = "1, 2, 4, 8",
    requests: Input(
        type="integer", min=400, max=1000000, description="Load: requests behind the percentiles"
    ) = 1000,
    seconds: Input(
        type="number", min=0.2, max=600.0, description="Load: how long each candidate is timed"
    ) = 4.0,
):
    """The same files come out, and runtime.toml, by which they are served."""
    with step(check_latency, locals()) as run:
        from tfhub_blocks.compute.latency.accelerated_model import (
            copy_with_runtime,
            format_of,
            output_digest,
        )
        from tfhub_blocks.compute.latency.latency_budget import missed_error, with_decided
        from tfhub_blocks.compute.latency.latency_check import Choice, check
        from tfhub_blocks.compute.latency.latency_machine import machine_facts
        from tfhub_blocks.compute.latency.latency_report import (
            FORMAT,
            metrics_of,
            summary_values,
            write_report,
        )
        from tfhub_blocks.compute.latency.latency_subject import (
            open_subject,
            parsed,
            positive,
            take_sample,
            words_of,
        )
        from tfhub_blocks.compute.latency.measurements import ServingPlan
        from tfhub_blocks.compute.latency.trials import TrialPlan
        from tfhub_blocks.compute.step.tracking import track
        from tfhub_blocks.compute.tf.tensorflow_setup import core_count

        subject = open_subject(model and Path(model), encoder and Path(encoder))
        data = open_snapshot(run.path("snapshot"), "check_latency")
        sample = take_sample(data, subject, evaluation and Path(evaluation))
        cores = core_count()
        sizes = parsed(batch_sizes, "batch_sizes", positive)
        levels = parsed(concurrency, "concurrency", positive)
        choice = Choice(
            engines=parsed(engines, "engines", words_of(OWN, *ENGINES)),
            precisions=parsed(precisions, "precisions", words_of("float32", "bfloat16")),
            threads=(cores, *({1} - {cores}))
            if threads == "auto"
            else parsed(threads, "threads", positive),
            batch_sizes=sizes,
            windows_ms=parsed(windows_ms, "windows_ms", float),
        )
        asked = Speeds(p50_ms, p95_ms, p99_ms, items_per_s, cold_start_s, memory_mb)
        budget = with_decided(asked, subject.pin.decisions if subject.pin else None)
        checked = check(
            subject.path,
            sample,
            choice,
            budget,
            TrialPlan(tolerance, seconds, levels, sizes),
            ServingPlan(levels, seconds, requests, items_per_s),
            cores,
            lambda told: print(told, flush=True),
        )
        runtime = replace(checked.served.runtime, compute_size=compute_size, budget=budget)
        machine = {"compute_size": compute_size or "", **machine_facts()}
        folder = run.begin_output("report", FORMAT)
        facts = [("Model", subject.digest), ("Snapshot", data.manifest.digest), *machine.items()]
        write_report(folder, checked, facts)
        track("check_latency", summary_values(checked), {"model_digest": subject.digest}, folder)
        if checked.missed:
            raise missed_error(checked.missed, runtime.name, "check_latency")
        run.facts |= subject.facts
        served = run.begin_output("served_model", format_of(subject.path))
        copy_with_runtime(subject.path, served, runtime)
        Evidence(
            model_digest=subject.digest,
            digests={
                "snapshot": data.manifest.digest,
                **subject.digests,
                "served_model": output_digest(served),
                "code": run.provenance.code_digest,
                "environment": run.provenance.environment_digest,
            },
            metrics=metrics_of(checked),
            thresholds=checked.thresholds,
            kind="latency",
            facts={"runtime": runtime.name, "precision": runtime.precision, **machine},
        ).write(run.path("evidence"))
