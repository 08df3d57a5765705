"""import_encoder: Copy a pretrained SavedModel, verified byte for byte, for other steps."""

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.pins.pins import FORMAT, PIN_NAME


@command_component(
    version="1.0.0",
    display_name="Import encoder",
    description=(
        "Copy a pretrained SavedModel from a folder or a TF Hub address, compare every file with "
        "the encoder's pin, and record the encoder's inputs and outputs."
    ),
    environment="azureml:tfhub-blocks-cpu:0e8ca113f6d0",
    tags={"role": "cpu", "category": "encoder"},
)
def import_encoder(
    encoder: Output(
        type="custom_model",
        description=(
            "Verified encoder: encoder.toml, and the SavedModel in saved_model/ unless the pin "
            "sets loading to baked or downloaded."
        ),
    ),
    source: Input(
        type="custom_model",
        optional=True,
        description=(
            "Folder of a SavedModel; or a folder with encoder.toml and saved_model/; or with "
            "encoder.toml alone, if its loading is baked or downloaded. Set this or handle."
        ),
    ) = None,
    pin: Input(
        type="uri_file",
        optional=True,
        description="Pin (encoder.toml) to compare the encoder with, if source has none.",
    ) = None,
    handle: Input(
        type="string",
        optional=True,
        description="Address of a TF Hub or Kaggle model. Set this or source.",
    ) = None,
    unpinned: Input(
        type="string",
        enum=["accept", "refuse"],
        optional=True,
        description="Treatment of an encoder without a pin: refuse it, or accept it and pin the "
        "files as they are. Without a value, the profile's encoder_policy decides: experiment "
        "accepts it, production refuses it.",
    ) = None,
    facts: Input(
        type="string",
        optional=True,
        description=(
            "Facts that a SavedModel without a pin does not contain, as NAME=VALUE separated by "
            "commas: size_px=96:96, range=-1:1, rate_hz=16000, signature=NAME, output=NAME, "
            "pooling=mean; allow_op=NAME allows an operation that does more than compute."
        ),
    ) = None,
    follow_links: Input(
        type="boolean",
        description="Read files outside of source to which links lead, and record them; otherwise "
        "such links are refused.",
    ) = False,
):
    """Copy, verify, load and describe a pretrained encoder."""
    with step(import_encoder, locals()) as run:
        from tfhub_blocks.compute.encoders import encoder_import, encoder_policy

        where = "import_encoder"
        encoder_policy.check_handle(handle or "", where)
        folder = run.begin_output("encoder", FORMAT)
        if source and (links := encoder_import.links_out(source)):
            run.facts["followed_links"] = links
        unpinned = unpinned or encoder_policy.treatment(where)
        request = encoder_import.ImportRequest(source, handle, pin, unpinned, facts, follow_links)
        pinned = encoder_import.import_saved_model(request, folder)
        encoder_policy.check_handle(pinned.handle, where)
        encoder_policy.check_decisions(pinned.decisions, where)
        run.facts.update(
            digest=pinned.digest,
            handle=pinned.handle,
            name=pinned.name,
            loading=pinned.decisions.loading,
            **pinned.operations.facts(),
            **pinned.assumed_facts(),
        )
        for note in pinned.notes or ():
            run.warn(note)
        print((folder / PIN_NAME).read_text(encoding="utf-8"))
        print(
            f"{pinned.name}: {pinned.modality} encoder, {pinned.output.dimension} features, "
            f"{len(pinned.files)} files, digest {pinned.digest}"
        )
