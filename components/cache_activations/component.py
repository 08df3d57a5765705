"""cache_activations: Compute the output of an encoder's frozen lower part for each item."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress
from tfhub_blocks.records.formats.features import ACTIVATIONS, open_features
from tfhub_blocks.records.formats.snapshots import open_snapshot


@command_component(
    version="1.0.0",
    display_name="Cache activations",
    description="Cut an encoder and run its frozen lower part once over each item. Any number of "
    "fine_tune steps can train above this cut, now and in later runs.",
    environment="azureml:tfhub-blocks-gpu:e3ee69387942",
    tags={"role": "gpu", "category": "features", "workers": "many"},
)
def cache_activations(
    snapshot: Input(type="uri_folder", description="Snapshot of the items, from snapshot_data."),
    encoder: Input(type="custom_model", description="Encoder whose pin allows fine-tuning."),
    activations: Output(
        type="uri_folder",
        description="Id, label, split and activation of each item, in Arrow shards.",
    ),
    previous_activations: Input(
        type="uri_folder",
        optional=True,
        description="Earlier activations at the same cut; their items are not computed again.",
    ) = None,
    trainable: Input(
        type="string",
        description="Part of the encoder that fine_tune will train: a number of blocks from the "
        "top, a share of the forward pass such as 0.33, or the beginning of a variable's name "
        "(tfhub-blocks encoder cuts lists them).",
    ) = "0.33",
    engine: Input(
        type="string",
        enum=["auto", *ENGINES],
        description="Engine that computes the activations; auto selects the fastest on this "
        "machine whose results agree with TensorFlow's.",
    ) = "auto",
    dtype: Input(
        type="string",
        enum=["float16", "float32"],
        description="Data type of the stored activations.",
    ) = "float16",
    batch_size: Input(
        type="integer",
        min=1,
        max=4096,
        description="Number of items that a GPU computes at once; a CPU core computes at most 8.",
    ) = 64,
):
    """Write the activations of each item of a snapshot at a cut of the encoder."""
    with step(cache_activations, locals()) as run:
        from tfhub_blocks.compute.encoders.encoder_policy import tunable_pin

        name = "cache_activations"
        tunable_pin(run.path("encoder"), name)
        items = open_snapshot(run.path("snapshot"), name)
        earlier = None
        if previous_activations is not None:
            earlier = open_features(Path(previous_activations), name, ACTIVATIONS)

        from tfhub_blocks.compute.cutting.encoder_cuts import chosen_cut, cut_encoder
        from tfhub_blocks.compute.encoders.encoder import load_encoder
        from tfhub_blocks.compute.extraction.extraction import Extraction
        from tfhub_blocks.compute.extraction.feature_output import run_extraction
        from tfhub_blocks.compute.inference.shared_work import InferenceOptions
        from tfhub_blocks.compute.tf.tensorflow_setup import use_one_thread_per_operation
        from tfhub_blocks.compute.tuning.caching import LowerPart

        use_one_thread_per_operation()
        loaded = load_encoder(run.path("encoder"), name)
        whole = cut_encoder(loaded, name)
        lower = LowerPart(whole, chosen_cut(whole, trainable, name))
        options = InferenceOptions(engine, dtype=dtype, batch_size=batch_size)
        extraction = Extraction(items, lower, options, earlier, where=name)
        run_extraction(run, "activations", ACTIVATIONS, extraction, Progress)
