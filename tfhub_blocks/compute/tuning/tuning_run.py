"""Fine-tuning of an encoder above a cut: returns the better of the probe and the tuned model."""

# decisions 22 and 94

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfhub_blocks.compute.cutting.cut_costs import (
    TrainingBudget,
    deepest_within,
    measured_forward_s,
)
from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder, check_cuts
from tfhub_blocks.compute.heads.feature_splits import Split
from tfhub_blocks.compute.heads.linear_head import Head, fit_head
from tfhub_blocks.compute.inference.engine_list import REFERENCE
from tfhub_blocks.compute.inference.engine_selection import AUTO
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.compute.tuning.activations import Activations
from tfhub_blocks.compute.tuning.blend_comparison import BlendComparison, choose_blend
from tfhub_blocks.compute.tuning.caching import SPLITS, Cache, Examples, LowerPart
from tfhub_blocks.compute.tuning.checkpoints import noted_preemption
from tfhub_blocks.compute.tuning.classifier import Classifier, feature_scale, features_of
from tfhub_blocks.compute.tuning.learning_schedule import Schedule, default_schedule
from tfhub_blocks.compute.tuning.replicas import ALONE, Replicas
from tfhub_blocks.compute.tuning.training import Safety, Trained, train
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.node_disk import scratch_folder
from tfhub_blocks.records.formats.features import Features
from tfhub_blocks.records.formats.snapshots import Snapshot

WHERE = "fine_tune"


@dataclass(frozen=True)
class TuningOptions:
    """The options of a fine-tuning; for None, ``default_schedule`` chooses a value."""

    dtype: Literal["float16", "float32"] = "float16"
    engine: str = AUTO
    augment_views: int = 0
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    label_smoothing: float | None = None
    mixup: float | None = None
    balance_classes: bool = False
    seed: int = 0
    checkpoint_every_s: float = 60.0


@dataclass(frozen=True, eq=False)
class Tuned:
    """The result of a fine-tuning: a head, whose encoder has the matching variables."""

    head: Head
    cut: Cut
    schedule: Schedule
    trained: Trained
    comparison: BlendComparison
    engine: str
    rejected: int = 0
    """The number of items without finite activations, which were left out."""

    def told_cut(self) -> dict[str, Any] | None:
        """Return the trained part and its share in the result, for a model's metadata.

        The value is None if the start was better: then the encoder is as published.
        """
        share = self.comparison.chosen.share
        cut = {"trained_from": self.cut.above[0], "variables": len(self.cut.above), "share": share}
        return cut if share else None

    def facts(self) -> dict[str, Any]:
        """Return the choices and the results, for a lineage."""
        return {
            "cut": self.cut.tensor,
            "engine": {"kind": self.engine},
            "trained_from": self.cut.above[0],
            "variables_trained": len(self.cut.above),
            "schedule": asdict(self.schedule),
            "epochs": len(self.trained.epochs),
            "best_epoch": self.trained.best + 1,
            "temperature": self.head.temperature,
            "rejected": self.rejected,
            "comparison": self.comparison.as_dict(),
        }


def fine_tune(
    snapshot: Snapshot,
    cut_encoder: CutEncoder,
    cut: Cut,
    start: Head | None,
    options: TuningOptions,
    work: Path,
    progress: Callable[[str], Callable[[int, int], None]],
    given: Features | None = None,
    replicas: Replicas = ALONE,
) -> Tuned | None:
    """Train an encoder above a cut and a head on its features, and keep the better of two.

    The two are the start and the trained model. The head is fitted on the published encoder first,
    and then both are trained: Kumar et al., Fine-Tuning can Distort Pretrained Features, 2022.
    Batch normalization keeps its statistics and dropout inside the encoder is off, as in inference.

    The encoder's variables below the cut do not change; those above get the values of the result.
    If an earlier attempt at the same work left its state in ``work``, the training resumes from it
    and gives the same bits.

    Args:
        snapshot: Items with splits ``train`` and ``validation``.
        cut_encoder: The encoder, with its published weights.
        cut: A cut of the encoder.
        start: The head to start with; for None a head is fitted as ``train_head`` does.
        options: The options.
        work: A folder for activations and checkpoints, which all workers share.
        progress: Returns, for a unit, a function to call with the units done and the total.
        given: The activations, if ``cache_activations`` has computed them.
        replicas: The replicas that train in parallel.

    Returns:
        The result; None on all workers but the first.

    Raises:
        BlocksError: A split is empty, the head has other classes or features, another worker
            stopped, or ``Cache.examples`` or ``train`` failed.
        SystemExit: SIGTERM was received.
    """
    labels = snapshot.manifest.labels
    if start is not None:
        _check_start(start, labels, cut_encoder)
    worker = replicas.worker
    engine = options.engine if cut.below else REFERENCE
    # Workers share the activations through the output; one worker needs the node's disk alone.
    activations = (work if worker.count > 1 else scratch_folder(work)) / "activations"
    examples = Cache(
        snapshot,
        LowerPart(cut_encoder, cut),
        InferenceOptions(engine, dtype=options.dtype),
        Share(activations, worker.index, worker.count),
        WHERE,
    ).examples(options.augment_views, given, progress("items"))
    for split, items in zip(SPLITS, (examples.train, examples.validation), strict=True):
        if not len(items):
            raise _empty(split)
    blocks = cut_encoder.blocks_above(cut)
    schedule = default_schedule(
        len(examples.train), len(labels), 1 + max(blocks), options.epochs, options.batch_size
    ).replaced(
        learning_rate=options.learning_rate,
        label_smoothing=options.label_smoothing,
        mixup=options.mixup,
    )
    head, classifiers = _classifiers(cut_encoder, cut, examples, start, labels, replicas)
    classifier = classifiers[0]
    probe = classifier.values()
    known = _identity(snapshot, cut_encoder, cut, head, options, schedule, given, replicas.count)
    with noted_preemption() as preemption, replicas.told_if_lost():
        multipliers = [schedule.block_decay**block for block in blocks]
        trained = train(
            classifiers,
            [*multipliers, 1.0, 1.0],
            examples,
            schedule,
            options.balance_classes,
            options.seed,
            Safety(work, known, options.checkpoint_every_s, preemption),
            replicas,
            progress("steps"),
            WHERE,
        )
    if not worker.is_first:
        return None
    comparison = choose_blend(classifier, probe, trained.values, examples.validation)
    if comparison.chosen.share > 0:
        head = classifier.head(comparison.chosen.temperature)
    return Tuned(head, cut, schedule, trained, comparison, examples.engine, examples.rejected)


def _classifiers(
    cut_encoder: CutEncoder,
    cut: Cut,
    examples: Examples,
    start: Head | None,
    labels: tuple[str, ...],
    replicas: Replicas,
) -> tuple[Head, list[Classifier]]:
    """Return the head to start with, and the classifiers: the encoder's, then those of its copies.

    A copy is on another device. All classifiers of all workers have the same values.
    """
    upper = cut_encoder.trainable_upper(cut)

    def split(items: Activations) -> Split:
        return Split(features_of(upper, items), items.targets, items.ids)

    validation = split(examples.validation)
    head = start or fit_head(split(examples.train), validation, labels).head
    # Without calibration, training would first correct the confidence of the head.
    temperature = np.float32(head.temperature)
    calibrated = Head(head.weights / temperature, head.bias / temperature, labels, 1.0)
    scale = feature_scale(np.asarray(validation.features))
    penalties = getattr(cut_encoder.encoder.loaded.modules[0], "regularization_losses", ())
    classifiers = []
    for number, device in enumerate(replicas.devices):
        copy = cut_encoder.copied(device) if number else cut_encoder
        # Losses of all replicas are summed, so the penalties count in one replica only.
        counted = penalties if replicas.first + number == 0 else ()
        own = copy.trainable_upper(cut) if number else upper, copy.variables_above(cut)
        classifiers.append(Classifier(*own, calibrated, scale, counted, device))
    values = replicas.agreed(classifiers[0].values())
    for classifier in classifiers:
        classifier.assign(values)
    return head, classifiers


def planned_cut(
    snapshot: Snapshot,
    cut_encoder: CutEncoder,
    budget: TrainingBudget,
    epochs: int | None,
    dtype: str,
    views: int,
    replicas: Replicas,
) -> Cut:
    """Return the cut that trains the most within a budget.

    Costs are estimated from a forward pass that is measured on this machine. The cut leaves a part
    of the encoder unchanged, and is the same on all workers.

    Raises:
        BlocksError: No budget is set, or no cut is within the budget.
    """
    check_cuts(cut_encoder, WHERE)
    counts = snapshot.manifest.counts
    items = {split: sum(counts.get(split, {}).values()) for split in SPLITS}
    if not items["train"]:
        raise _empty("train")
    passes = default_schedule(items["train"], 2, 1, epochs).epochs
    forward_s = float(replicas.agreed([np.array([measured_forward_s(cut_encoder)])])[0][0])
    cuts, all_items = cut_encoder.cuts, sum(items.values())
    return deepest_within(cuts, budget, all_items, passes, dtype, forward_s, WHERE, views)


def threading_facts() -> dict[str, Any]:
    """Return the settings of TensorFlow that affect the bits of a training."""
    return {
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    }


def _identity(
    snapshot: Snapshot,
    cut_encoder: CutEncoder,
    cut: Cut,
    head: Head,
    options: TuningOptions,
    schedule: Schedule,
    given: Features | None,
    replicas: int,
) -> str:
    """Return a digest that differs for any other work that could have left a checkpoint."""
    asked = asdict(options)
    del asked["checkpoint_every_s"]
    known = [
        snapshot.manifest.digest,
        cut_encoder.encoder.digest,
        cut.tensor,
        asked,
        asdict(schedule),
        given and given.folder.digest,
        replicas,
        threading_facts(),
        tf.__version__,
    ]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    digest.update(head.weights.tobytes() + head.bias.tobytes())
    return digest.hexdigest()


def _check_start(start: Head, labels: tuple[str, ...], cut_encoder: CutEncoder) -> None:
    if start.labels != labels:
        raise BlocksError(
            WHERE,
            "start",
            f"the model's classes are {_listed(start.labels)}",
            f"the classes of the snapshot, {_listed(labels)}",
            "Pass a model that was trained on a snapshot with these classes as start, or leave "
            "out start",
        )
    dimension = cut_encoder.encoder.pin.output.dimension
    if len(start.weights) != dimension:
        raise BlocksError(
            WHERE,
            "start",
            f"the head of the model takes {len(start.weights)} features",
            f"{dimension} features, the dimension of the encoder",
            "Pass a model that was trained on this encoder's features as start, or leave out start",
        )


def _listed(labels: tuple[str, ...]) -> str:
    named = ", ".join(map(repr, labels[:5]))
    return f"{named} and {len(labels) - 5} more" if len(labels) > 5 else named


def _empty(split: str) -> BlocksError:
    return BlocksError(
        WHERE,
        "snapshot",
        f"the {split} split of the snapshot is empty",
        "at least one item",
        f"Pass a larger share of the {split} split to snapshot_data, or take a snapshot of more "
        "items",
    )
