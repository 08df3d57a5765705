"""import_encoder: a pretrained SavedModel, verified to the byte, that other steps may load."""

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.pins.pins import FORMAT, PIN_NAME


@command_component(
    version="1.0.0",
    display_name="Import encoder",
    description=(
        "Takes a pretrained SavedModel from a folder or a TF Hub address, holds every file "
        "against its pin, and records what the encoder takes and gives."
    ),
    environment="azureml:tfhub-blocks-cpu:6887d457f02e",
    tags={"role": "cpu", "category": "encoder"},
)
def import_encoder(
    encoder: Output(
        type="custom_model",
        description=(
            "The verified encoder: encoder.toml, and the SavedModel in saved_model/ unless the pin "
            "decides that it is baked or downloaded."
        ),
    ),
    source: Input(
        type="custom_model",
        optional=True,
        description=(
            "A SavedModel's folder, or one with encoder.toml beside saved_model/, or with "
            "encoder.toml alone if that decides for baked or downloaded. Give this or handle."
        ),
    ) = None,
    pin: Input(
        type="uri_file",
        optional=True,
        description="The encoder.toml to hold the encoder against, where source has none.",
    ) = None,
    handle: Input(
        type="string",
        optional=True,
        description="The address of a TF Hub or Kaggle model. Give this or source.",
    ) = None,
    unpinned: Input(
        type="string",
        enum=["accept", "refuse"],
        description="What to do with an encoder that has no pin; accept pins what is found.",
    ) = "refuse",
    facts: Input(
        type="string",
        optional=True,
        description=(
            "What an encoder without pin does not say of itself, as NAME=VALUE with commas "
            "between: size_px=96:96, range=-1:1, rate_hz=16000, output=NAME, pooling=mean."
        ),
    ) = None,
):
    """Copy, verify, load and describe a pretrained encoder."""
    with step(import_encoder, locals()) as run:
        from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
        from tfhub_blocks.compute.encoders.encoder_policy import check_decisions, check_handle

        check_handle(handle or "", "import_encoder")
        folder = run.begin_output("encoder", FORMAT)
        pinned = import_saved_model(ImportRequest(source, handle, pin, unpinned, facts), folder)
        check_handle(pinned.handle, "import_encoder")
        check_decisions(pinned.decisions, "import_encoder")
        run.facts.update(
            digest=pinned.digest,
            handle=pinned.handle,
            name=pinned.name,
            loading=pinned.decisions.loading,
        )
        print((folder / PIN_NAME).read_text(encoding="utf-8"))
        print(
            f"{pinned.name}: {pinned.modality} encoder, {pinned.output.dimension} features, "
            f"{len(pinned.files)} files, digest {pinned.digest}"
        )
