"""The step check_latency: the report, the evidence and the model with its fastest runtime."""

from dataclasses import dataclass, replace
from pathlib import Path

from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.latency.accelerated_model import (
    copy_with_runtime,
    format_of,
    output_digest,
)
from tfhub_blocks.compute.latency.latency_budget import missed_error, with_decided
from tfhub_blocks.compute.latency.latency_check import WHERE, Choice, check
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
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.compute.step.tracking import track
from tfhub_blocks.records.base.cores import core_count
from tfhub_blocks.records.environment.machine_facts import machine_facts
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.runtimes import OWN, Speeds
from tfhub_blocks.records.formats.snapshots import open_snapshot


@dataclass(frozen=True)
class LatencySettings:
    """The parameters of the step, by their names; the first is its budget.

    Texts contain values that are separated by commas.
    """

    budget: Speeds
    compute_size: str | None
    tolerance: float
    engines: str
    precisions: str
    threads: str
    batch_sizes: str
    windows_ms: str
    concurrency: str
    requests: int
    seconds: float
    trust_code: bool = False


def run_latency_check(
    run: StepRun,
    model: Path | None,
    encoder: Path | None,
    evaluation: Path | None,
    settings: LatencySettings,
) -> None:
    """Measure runtimes, check the fastest against the budget, and write the model with it.

    The report is written even if the budget is missed.

    Args:
        run: The step's run, with the input ``snapshot``.
        model: The model to check.
        encoder: The encoder to check, in place of a model.
        evaluation: The report of evaluate whose answers are compared with the served ones.
        settings: The other parameters of the step.

    Raises:
        BlocksError: An input or a parameter is invalid, the model does not answer the items, or no
            runtime meets the budget.
    """
    subject = open_subject(model, encoder, settings.trust_code)
    data = open_snapshot(run.path("snapshot"), WHERE)
    sample = take_sample(data, subject, evaluation)
    cores = core_count()
    sizes = parsed(settings.batch_sizes, "batch_sizes", positive)
    levels = parsed(settings.concurrency, "concurrency", positive)
    choice = _choice(settings, sizes, cores)
    budget = with_decided(settings.budget, subject.pin.decisions if subject.pin else None)
    checked = check(
        subject.path,
        sample,
        choice,
        budget,
        TrialPlan(settings.tolerance, settings.seconds, levels, sizes),
        ServingPlan(levels, settings.seconds, settings.requests, settings.budget.items_per_s),
        cores,
        lambda line: print(line, flush=True),
    )
    size = settings.compute_size
    runtime = replace(
        checked.served.runtime,
        tensorflow=checked.chosen.tensorflow,
        compute_size=size,
        budget=budget,
    )
    machine = {"compute_size": size or "", **machine_facts().as_texts()}
    folder = run.begin_output("report", FORMAT)
    facts = [("Model", subject.digest), ("Snapshot", data.manifest.digest), *machine.items()]
    write_report(folder, checked, facts)
    track("check_latency", summary_values(checked), {"model_digest": subject.digest}, folder)
    if checked.missed:
        raise missed_error(checked.missed, runtime.name, WHERE)
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


def _choice(settings: LatencySettings, sizes: tuple[int, ...], cores: int) -> Choice:
    """Return the runtimes to try.

    Raises:
        BlocksError: A parameter contains an invalid value.
    """
    return Choice(
        engines=parsed(settings.engines, "engines", words_of(OWN, *ENGINES)),
        precisions=parsed(settings.precisions, "precisions", words_of("float32", "bfloat16")),
        threads=(cores, *({1} - {cores}))
        if settings.threads == "auto"
        else parsed(settings.threads, "threads", positive),
        batch_sizes=sizes,
        windows_ms=parsed(settings.windows_ms, "windows_ms", float),
    )
