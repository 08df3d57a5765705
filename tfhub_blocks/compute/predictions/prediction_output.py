"""The output of predictions: scored parts in the order of the data, and a summary."""

# decision 40

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tfhub_blocks.compute.inference.shared_work import Progress, Share, run_shared, wait_progress
from tfhub_blocks.compute.inference.work_plan import WorkPlan
from tfhub_blocks.compute.predictions.batch_scoring import FAULTS_SHOWN, Scoring
from tfhub_blocks.compute.predictions.prediction_columns import EarlierAnswers
from tfhub_blocks.compute.predictions.scorers import ProgramScorer
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.records.base.lineage import TRUSTED_FACT
from tfhub_blocks.records.formats.predictions import (
    FORMAT,
    SUMMARY_NAME,
    PredictionManifest,
    PredictionWriter,
)


@dataclass
class Summary:
    """The summary of all rows: counts by label, mean probability, and unreadable items."""

    rows: int = 0
    unreadable: int = 0
    scored: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    probabilities: float = 0.0
    first_errors: list[str] = field(default_factory=list)

    def add(self, rows: pa.Table, earlier: EarlierAnswers) -> None:
        """Add the rows of a part."""
        answered = rows.filter(rows["error"].is_null())
        failed = rows.filter(rows["error"].is_valid())
        self.rows += rows.num_rows
        self.unreadable += failed.num_rows
        self.scored += sum(item not in earlier for item in set(answered["id"].to_pylist()))
        self.labels.update(answered["label"].to_pylist())
        self.probabilities += pc.sum(answered["probability"].cast("float64")).as_py() or 0.0
        for row in failed.slice(0, FAULTS_SHOWN - len(self.first_errors)).to_pylist():
            self.first_errors.append(f"{row['path']}: {row['error']}")

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``summary.json``."""
        answered = self.rows - self.unreadable
        return {
            "rows": self.rows,
            "scored": self.scored,
            "unreadable": self.unreadable,
            "labels": dict(sorted(self.labels.items())),
            "mean_probability": round(self.probabilities / answered, 6) if answered else None,
            "first_errors": self.first_errors,
        }


def run_scoring(
    run: StepRun,
    port: str,
    scoring: Scoring,
    progress: Callable[[str], Progress],
) -> None:
    """Fill a step's output with predictions; each worker of the step scores a share.

    Args:
        run: The step's run.
        port: The output.
        scoring: The model, the places and options.
        progress: Returns, for a unit, a callback for the number done and the total.

    Raises:
        BlocksError: The scoring failed; see ``Scoring.compute``.
    """
    mine = run_shared(run, port, FORMAT, scoring, progress, checked=["data"])
    if mine is None:
        return
    plan, share, folder = mine
    manifest, summary = write_predictions(scoring, plan, share, folder, progress("items"))
    run.facts.update(
        rows=manifest.rows,
        scored=manifest.scored,
        unreadable=manifest.unreadable,
        model_digest=manifest.model_digest,
        model_version=manifest.model_version,
        engine={"kind": plan.kind, **plan.report},
    )
    if isinstance(scoring.model, ProgramScorer):
        run.facts[TRUSTED_FACT] = True  # nobody but a person who trusts it lets it run
    if scoring.places.warnings:
        run.facts["followed_links"] = scoring.places.warnings
    for warning in scoring.places.warnings:
        run.warn(warning)
    for line in plan.told():
        print(line)
    for warning in plan.warnings():
        run.warn(warning)
    for error in summary.first_errors:
        print(f"unreadable: {error}")
    common = ", ".join(f"{number} {label}" for label, number in summary.labels.most_common(5))
    more = f", {len(summary.labels) - 5} more labels" if len(summary.labels) > 5 else ""
    print(
        f"{manifest.rows} rows, {manifest.scored} contents scored, {manifest.unreadable} "
        f"unreadable: {common}{more}; by model {manifest.model_version}"
    )


def write_predictions(
    scoring: Scoring,
    plan: WorkPlan,
    share: Share,
    folder: Path,
    progress: Progress,
) -> tuple[PredictionManifest, Summary]:
    """Write the predictions of all places, and return their manifest and summary.

    Only the first worker does this, and waits for the parts of the other workers.

    Args:
        scoring: The model, the places and options.
        plan: The plan of all workers.
        share: The share of the first worker.
        folder: The empty folder to fill.
        progress: Called with the number of places scored by all workers, and their total.

    Raises:
        BlocksError: Too many places lack an answer.
    """
    parts, on_wait = scoring.parts(share), wait_progress(plan, progress)
    earlier = scoring.earlier(plan.kind)
    model, summary, dimension = scoring.model, Summary(), 0
    facts = {
        "labels": list(model.labels),
        "model_digest": model.digest,
        "model_version": scoring.model_version,
    }

    with PredictionWriter(folder, scoring.schema, facts) as writer:
        for number in plan.numbers:
            table = parts.table(number, on_wait)
            summary.add(table, earlier)
            scoring.check_unreadable(summary.unreadable, table)
            writer.write(table)
            if scoring.keep_features:
                lengths = pc.max(pc.list_value_length(table["vector"])).as_py()
                dimension = max(dimension, lengths or 0)
    if writer.rows != scoring.places.total:
        raise RuntimeError(f"{writer.rows} rows for {scoring.places.total} places")
    manifest = PredictionManifest(
        rows=writer.rows,
        scored=summary.scored,
        unreadable=summary.unreadable,
        labels=model.labels,
        top_k=scoring.top_k,
        model_digest=model.digest,
        model_version=scoring.model_version,
        modality=scoring.places.modality,
        engine=plan.kind,
        precision=scoring.options.precision,
        shards=tuple(writer.names),
        dimension=dimension,
    )
    manifest.write(folder)
    text = json.dumps(summary.as_dict(), indent=1, ensure_ascii=False)
    (folder / SUMMARY_NAME).write_text(text + "\n", encoding="utf-8")
    return manifest, summary
