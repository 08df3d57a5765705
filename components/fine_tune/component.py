"""fine_tune: the upper part of an encoder and a head, trained on what the lower part gives once."""

import time
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress
from tfhub_blocks.records.formats.features import ACTIVATIONS, open_features
from tfhub_blocks.records.formats.models import MODEL, open_model
from tfhub_blocks.records.formats.snapshots import open_snapshot


@command_component(
    version="1.0.0",
    display_name="Fine-tune",
    description="Cut an encoder, run its frozen lower part once over each item, train the upper "
    "part and the head on what that gave, and keep the result only where it is better than the "
    "head alone.",
    environment="azureml:tfhub-blocks-gpu:cf87ef4816ab",
    tags={"role": "gpu", "category": "train", "workers": "many"},
)
def fine_tune(
    snapshot: Input(type="uri_folder", description="The items, as snapshot_data made them"),
    encoder: Input(type="custom_model", description="An encoder whose pin allows fine-tuning"),
    model: Output(
        type="mlflow_model", description="Bytes or text in, labels and probabilities out"
    ),
    record: Output(
        type="uri_folder", description="training.json and curves.png: cut, curves, cost, verdict"
    ),
    start: Input(
        type="mlflow_model",
        optional=True,
        description="A model of train_head whose head to start from; else one is fitted first",
    ) = None,
    activations: Input(
        type="uri_folder",
        optional=True,
        description="What cache_activations made of this snapshot at this cut; else done here",
    ) = None,
    trainable: Input(
        type="string",
        description="What is trained: a number of blocks from the top, a share of the forward "
        "pass such as 0.33, the beginning of a variable's name (tfhub-blocks encoder cuts), "
        "auto: as much as the budget allows, or all: nothing is cached but prepared items",
    ) = "0.33",
    most_s: Input(
        type="number", optional=True, min=0.0, description="Budget of auto: estimated seconds"
    ) = None,
    most_disk_gb: Input(
        type="number", optional=True, min=0.0, description="Budget of auto: disk for activations"
    ) = None,
    dtype: Input(
        type="string",
        enum=["float16", "float32"],
        description="What the frozen part's results are kept in on disk",
    ) = "float16",
    engine: Input(
        type="string",
        enum=["auto", *ENGINES],
        description="What computes the frozen part; auto is the fastest here that gives the same.",
    ) = "auto",
    epochs: Input(
        type="integer", optional=True, min=1, max=1000, description="Training: most epochs"
    ) = None,
    batch_size: Input(
        type="integer", optional=True, min=1, max=4096, description="Training: items in a step"
    ) = None,
    learning_rate: Input(
        type="number",
        optional=True,
        min=1e-8,
        max=1.0,
        description="Training: of the topmost block and the head",
    ) = None,
    label_smoothing: Input(
        type="number", optional=True, min=0.0, max=0.9, description="Training: share spread out"
    ) = None,
    augment_views: Input(
        type="integer",
        min=0,
        max=100,
        description="Training: so many flipped, cropped and coloured views of each image are "
        "cached besides it, for as much time and disk again each",
    ) = 0,
    mixup: Input(
        type="number",
        min=0.0,
        max=10.0,
        description="Training: strength of blending items at the cut; 0 is none",
    ) = 0.0,
    balance_classes: Input(
        type="boolean", description="Training: weigh each class by the inverse of its share"
    ) = False,
    seed: Input(type="integer", min=0, description="Training: of the order of items") = 0,
    checkpoint_every_s: Input(
        type="integer",
        min=1,
        max=86400,
        description="Training: seconds between states that an interrupted attempt goes on from",
    ) = 60,
):
    """Works without tuning: what is not given comes from the numbers of items and blocks."""
    with step(fine_tune, locals()) as run:
        begun = time.monotonic()
        from tfhub_blocks.compute.encoders.encoder_policy import tunable_pin
        from tfhub_blocks.compute.tuning.starting_models import check_start

        pin = tunable_pin(run.path("encoder"), "fine_tune")
        items = open_snapshot(run.path("snapshot"), "fine_tune")
        cached = activations and open_features(Path(activations), "fine_tune", ACTIVATIONS)
        probe = start and open_model(Path(start), "fine_tune")
        if probe:
            check_start(probe[1], pin.digest)

        from tfhub_blocks.compute.cutting import cut_costs
        from tfhub_blocks.compute.cutting.encoder_cuts import chosen_cut, cut_encoder
        from tfhub_blocks.compute.encoders.encoder import load_encoder
        from tfhub_blocks.compute.models.model_writing import read_head, write_model
        from tfhub_blocks.compute.tf.tensorflow_setup import core_count, use_threads
        from tfhub_blocks.compute.tuning import training_log, tuning_run
        from tfhub_blocks.compute.tuning.replicas import replicas_here

        use_threads(core_count())
        replicas = replicas_here(run.worker)
        loaded = load_encoder(run.path("encoder"), "fine_tune")
        head = read_head(*probe) if probe else None
        cut = cut_encoder(loaded, "fine_tune")
        if trainable == "auto":
            budget = cut_costs.TrainingBudget(
                most_s, None if most_disk_gb is None else most_disk_gb * 1e9
            )
            asked = (budget, epochs, dtype, augment_views)
            chosen = tuning_run.planned_cut(items, cut, *asked, replicas)
        else:
            chosen = chosen_cut(cut, trainable, "fine_tune")
        print(f"trained: {len(chosen.above)} variables from {chosen.above[0]} on")
        if not chosen.below:
            print(f"that is all of the encoder: {cut_costs.told_whole(cut, items.manifest.items)}")
        options = tuning_run.TuningOptions(
            dtype=dtype,
            engine=engine,
            augment_views=augment_views,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            label_smoothing=label_smoothing,
            mixup=mixup,
            balance_classes=balance_classes,
            seed=seed,
            checkpoint_every_s=checkpoint_every_s,
        )
        output = run.begin_output("model", MODEL) if run.worker.is_first else None
        work = run.work("model")
        tuned = tuning_run.fine_tune(
            items, cut, chosen, head, options, work, Progress, cached, replicas
        )
        if output and tuned:
            print(tuned.comparison.told())
            threads = tuning_run.threading_facts() | {"replicas": replicas.count}
            run.facts.update(tuned.facts() | {"threads": threads, "seed": seed})
            run.facts["splits"] = dict(items.manifest.split_rule)
            facts = {
                "encoder_digest": loaded.digest,
                "snapshot_digest": items.manifest.digest,
                "preprocessing": dict(loaded.input.describe()),
                "fine_tuned": tuned.told_cut(),
            }
            write_model(output, loaded, tuned.head, facts)
            costs = {"whole_s": time.monotonic() - begun, "training_s": tuned.trained.seconds}
            training_log.write_record(run.begin_output("record", training_log.FORMAT), tuned, costs)
        replicas.wait()
