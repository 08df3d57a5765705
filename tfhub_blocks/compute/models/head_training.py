"""The step train_head: a head trained on features, written with its encoder as one model."""

from collections.abc import Iterator, Sequence

import pyarrow.compute as pc

from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.heads.feature_splits import WHERE, Split
from tfhub_blocks.compute.heads.linear_head import SweepRecord, fit_head
from tfhub_blocks.compute.models.model_writing import write_model
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.records.formats.features import Features
from tfhub_blocks.records.formats.models import (
    DATA_WARNINGS,
    MODEL,
    write_feature_twins,
    write_training_items,
)
from tfhub_blocks.records.formats.twins import read_twins


def run_head_training(
    run: StepRun,
    cached: Features,
    strengths: Sequence[float],
    balance_classes: bool,
    max_iterations: int,
) -> None:
    """Train a calibrated head on features, and write the model with the input ``encoder``.

    Args:
        run: The step's run.
        cached: The features of the training and the validation split.
        strengths: The regularisation strengths to try.
        balance_classes: True to weight each class by the inverse of its share.
        max_iterations: The highest number of L-BFGS iterations for a strength.

    Raises:
        BlocksError: The features are not those of the encoder, or no head can be fitted to them.
    """
    loaded = load_encoder(run.path("encoder"), WHERE)
    cached.check_encoder(loaded.digest, WHERE)
    cached.check_ids()
    fit = fit_head(
        Split(*cached.split("train")),
        Split(*cached.split("validation")),
        cached.manifest.labels,
        strengths,
        balance_classes,
        max_iterations,
        progress=_print_record,
    )
    print(f"{fit.method}: {fit.reason}")
    print(f"chosen: strength {fit.strength:g}, temperature {fit.head.temperature:.3f}")
    run.facts.update(fit.as_dict())
    if splits := cached.folder.lineage.provenance.facts.get("splits"):
        run.facts["splits"] = splits
    facts = {
        "encoder_digest": loaded.digest,
        "snapshot_digest": cached.manifest.snapshot_digest,
        "preprocessing": dict(cached.manifest.preprocessing),
        "features": {
            "engine": cached.manifest.engine,
            "precision": cached.manifest.precision,
            "dtype": cached.manifest.dtype,
        },
        **({DATA_WARNINGS: list(cached.manifest.warnings)} if cached.manifest.warnings else {}),
    }
    folder = run.begin_output("model", MODEL)
    write_model(folder, loaded, fit.head, facts)
    write_training_items(folder, _learned_from(cached))
    write_feature_twins(folder, read_twins(cached.folder))


def _learned_from(features: Features) -> Iterator[str]:
    for batch in features.batches(["id", "split"]):
        yield from batch.filter(pc.not_equal(batch["split"], "test"))["id"].to_pylist()


def _print_record(record: SweepRecord) -> None:
    print(
        f"strength {record.strength:<10g} validation log-loss {record.validation_log_loss:.4f} "
        f"after {record.iterations} iterations over {record.items} items",
        flush=True,
    )
