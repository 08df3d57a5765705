"""fine_tune: Train the upper part of an encoder with a head, on cached activations."""

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress


@command_component(
    version="1.0.0",
    display_name="Fine-tune",
    description="Cut an encoder, run its frozen lower part once over each item, and train the "
    "upper part and the head on these activations. The result is used only if it is better than "
    "the head alone.",
    environment="azureml:tfhub-blocks-gpu:e3ee69387942",
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
        from tfhub_blocks.compute.tuning.tuning_inputs import open_inputs

        inputs = open_inputs(run)

        from tfhub_blocks.compute.cutting.cut_costs import TrainingBudget
        from tfhub_blocks.compute.tuning.tuning_run import TuningOptions
        from tfhub_blocks.compute.tuning.tuning_step import run_tuning

        most_bytes = None if most_disk_gb is None else most_disk_gb * 1e9
        options = TuningOptions(
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
        run_tuning(run, inputs, trainable, TrainingBudget(most_s, most_bytes), options, Progress)
