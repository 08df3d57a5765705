"""fine_tune: Train the upper part of an encoder with a head, on cached activations."""

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
    description="Cut an encoder, run its frozen lower part once over each item, and train the "
    "upper part and the head on these activations. The result is used only if it is better than "
    "the head alone.",
    environment="azureml:tfhub-blocks-gpu:c1ccb3220897",
    tags={"role": "gpu", "category": "train", "workers": "many"},
)
def fine_tune(
    snapshot: Input(type="uri_folder", description="Snapshot of the items, from snapshot_data."),
    encoder: Input(type="custom_model", description="Encoder whose pin allows fine-tuning."),
    model: Output(
        type="mlflow_model",
        description="Model that takes bytes or text and returns labels and probabilities.",
    ),
    record: Output(
        type="uri_folder",
        description="training.json and curves.png: the cut, the curves, the cost and the verdict.",
    ),
    start: Input(
        type="mlflow_model",
        optional=True,
        description="Model from train_head whose head training starts from. Without it, the step "
        "fits a head first.",
    ) = None,
    activations: Input(
        type="uri_folder",
        optional=True,
        description="Activations from cache_activations for this snapshot and cut. Without them, "
        "the step computes the activations.",
    ) = None,
    trainable: Input(
        type="string",
        description="Part of the encoder to train: a number of blocks from the top; a share of "
        "the forward pass such as 0.33; the beginning of a variable's name (tfhub-blocks encoder "
        "cuts lists them); auto, as much as the budget allows; or all, which caches only the "
        "prepared items.",
    ) = "0.33",
    most_s: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Budget of auto: highest estimated training time, in seconds.",
    ) = None,
    most_disk_gb: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Budget of auto: highest disk use of activations, in units of 10**9 bytes.",
    ) = None,
    dtype: Input(
        type="string",
        enum=["float16", "float32"],
        description="Data type of the stored activations.",
    ) = "float16",
    engine: Input(
        type="string",
        enum=["auto", *ENGINES],
        description="Engine that computes the frozen part; auto selects the fastest on this "
        "machine whose results agree with TensorFlow's.",
    ) = "auto",
    epochs: Input(
        type="integer",
        optional=True,
        min=1,
        max=1000,
        description="Training: highest number of epochs.",
    ) = None,
    batch_size: Input(
        type="integer",
        optional=True,
        min=1,
        max=4096,
        description="Training: number of items in a batch.",
    ) = None,
    learning_rate: Input(
        type="number",
        optional=True,
        min=1e-8,
        max=1.0,
        description="Training: learning rate of the topmost block and the head.",
    ) = None,
    label_smoothing: Input(
        type="number",
        optional=True,
        min=0.0,
        max=0.9,
        description="Training: share of the target that is spread over all classes.",
    ) = None,
    augment_views: Input(
        type="integer",
        min=0,
        max=100,
        description="Training: number of flipped, cropped and recoloured views of each image to "
        "cache. Each view needs as much time and disk as the image itself.",
    ) = 0,
    mixup: Input(
        type="number",
        min=0.0,
        max=10.0,
        description="Training: strength of blending two items at the cut; 0 disables it.",
    ) = 0.0,
    balance_classes: Input(
        type="boolean", description="Training: weight each class by the inverse of its share."
    ) = False,
    seed: Input(type="integer", min=0, description="Training: seed of the order of items.") = 0,
    checkpoint_every_s: Input(
        type="integer",
        min=1,
        max=86400,
        description="Training: time between checkpoints, in seconds. An interrupted attempt "
        "continues from the last one.",
    ) = 60,
):
    """Train the upper part of an encoder with a head, and write the better model.

    Training needs no settings: defaults follow from the number of items and blocks.
    """
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
        print(f"trainable: {len(chosen.above)} variables, beginning with {chosen.above[0]}")
        if not chosen.below:
            print(
                f"the whole encoder is trained: {cut_costs.told_whole(cut, items.manifest.items)}"
            )
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
