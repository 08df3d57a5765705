"""The step fine_tune: the better model of probe and tuned model, and a record of the training."""

import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc

from tfhub_blocks.compute.cutting.cut_costs import TrainingBudget, told_whole
from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder, chosen_cut, cut_encoder
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.models.model_writing import read_head, write_model
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.compute.tf.tensorflow_setup import use_threads
from tfhub_blocks.compute.tuning import training_log
from tfhub_blocks.compute.tuning.replicas import Replicas, replicas_here
from tfhub_blocks.compute.tuning.tuning_inputs import TuningInputs
from tfhub_blocks.compute.tuning.tuning_run import (
    WHERE,
    Tuned,
    TuningOptions,
    fine_tune,
    planned_cut,
    threading_facts,
)
from tfhub_blocks.records.base.cores import core_count
from tfhub_blocks.records.formats.models import (
    DATA_WARNINGS,
    FEATURE_TWINS_NAME,
    MODEL,
    read_feature_twins,
    read_training_items,
    write_training_items,
)
from tfhub_blocks.records.formats.snapshots import Snapshot


def run_tuning(
    run: StepRun,
    inputs: TuningInputs,
    trainable: str,
    budget: TrainingBudget,
    options: TuningOptions,
    progress: Callable[[str], Callable[[int, int], None]],
) -> None:
    """Train the upper part of an encoder with a head, and write the better model and a record.

    All workers of the step train. The first worker writes the outputs.

    Args:
        run: The step's run, with the input ``encoder``.
        inputs: The other inputs.
        trainable: The part to train, as ``chosen_cut`` reads it, or ``auto``.
        budget: The limits of ``auto``.
        options: The options of the training.
        progress: Returns, for a unit, a function to call with the units done and the total.

    Raises:
        BlocksError: The encoder has no such cut, no cut is within the budget, or the training
            fails.
    """
    use_threads(core_count())
    replicas = replicas_here(run.worker)
    items = inputs.snapshot
    loaded = load_encoder(run.path("encoder"), WHERE)
    head = read_head(*inputs.start) if inputs.start else None
    cut = cut_encoder(loaded, WHERE)
    chosen = _chosen(items, cut, trainable, budget, options, replicas)
    output = run.begin_output("model", MODEL) if run.worker.is_first else None
    work = run.work("model")
    tuned = fine_tune(
        items, cut, chosen, head, options, work, progress, inputs.activations, replicas
    )
    if output and tuned:
        print(tuned.comparison.told())
        threads = threading_facts() | {"replicas": replicas.count}
        run.facts.update(tuned.facts() | {"threads": threads, "seed": options.seed})
        run.facts["splits"] = dict(items.manifest.split_rule)
        facts = {
            "encoder_digest": loaded.digest,
            "snapshot_digest": items.manifest.digest,
            "preprocessing": dict(loaded.input.describe()),
            "fine_tuned": tuned.told_cut(),
            **_data_warnings(run, inputs, tuned),
        }
        write_model(output, loaded, tuned.head, facts)
        # The head of the start learned from its items too, whatever snapshot they came from.
        earlier = read_training_items(inputs.start[0]) if inputs.start else None
        write_training_items(output, _learned_from(items), earlier)
        _copy_feature_twins(output, inputs)
        costs = {"whole_s": time.monotonic() - inputs.begun, "training_s": tuned.trained.seconds}
        training_log.write_record(run.begin_output("record", training_log.FORMAT), tuned, costs)
    replicas.wait()


def _data_warnings(run: StepRun, inputs: TuningInputs, tuned: Tuned) -> dict[str, list[str]]:
    """Return the warnings about the data, of the start too, for the model's metadata."""
    found = list(inputs.start[1].get(DATA_WARNINGS, ())) if inputs.start else []
    if tuned.rejected:
        text = (
            f"{tuned.rejected} items to learn from were left out: their activations at the cut are "
            "NaN or infinite"
        )
        run.warn(text)
        found.append(text)
    return {DATA_WARNINGS: found} if found else {}


def _copy_feature_twins(output: Path, inputs: TuningInputs) -> None:
    """Copy the twins by features of the start, if it learned from the same snapshot."""
    if inputs.start:
        folder, metadata = inputs.start
        if metadata["snapshot_digest"] == inputs.snapshot.manifest.digest:
            twins = read_feature_twins(folder)
            if twins.size:
                (output / FEATURE_TWINS_NAME).write_bytes(twins.tobytes())


def _learned_from(items: Snapshot) -> list[str]:
    index = items.index()
    learned: list[str] = index.filter(pc.not_equal(index["split"], "test"))["id"].to_pylist()
    return learned


def _chosen(
    items: Snapshot,
    cut: CutEncoder,
    trainable: str,
    budget: TrainingBudget,
    options: TuningOptions,
    replicas: Replicas,
) -> Cut:
    """Return the cut above which the encoder is trained, and print the trained part."""
    if trainable == "auto":
        asked = (budget, options.epochs, options.dtype, options.augment_views)
        chosen = planned_cut(items, cut, *asked, replicas)
    else:
        chosen = chosen_cut(cut, trainable, WHERE)
    print(f"trainable: {len(chosen.above)} variables, beginning with {chosen.above[0]}")
    if not chosen.below:
        print(f"the whole encoder is trained: {told_whole(cut, items.manifest.items)}")
    return chosen
