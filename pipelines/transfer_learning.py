"""transfer_learning: Train, evaluate and register a head on a frozen encoder's features."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import (
    evaluate,
    extract_features,
    import_encoder,
    register_model,
    snapshot_data,
    train_head,
)


@dsl.pipeline(
    name="transfer_learning",
    display_name="Transfer learning",
    description="Train, evaluate and register a head on the features of a frozen encoder.",
)
def transfer_learning(
    source: Input(
        type="uri_folder",
        description="Labelled data: a folder for each class, or a folder with a table.",
    ),
    owner: Input(type="string", description="Person or team that is responsible for the model."),
    encoder: Input(type="custom_model", optional=True, description="Folder of the encoder."),
    handle: Input(
        type="string",
        optional=True,
        description="TF Hub or Kaggle handle, in place of an encoder's folder.",
    ) = None,
    unpinned: Input(
        type="string",
        enum=["accept", "refuse"],
        description="Treatment of an encoder without a pin.",
    ) = "refuse",
    split_salt: Input(
        type="string", description="Text that determines the splits together with the content."
    ) = "splits-1",
    max_rejected_fraction: Input(
        type="number",
        min=0.0,
        max=1.0,
        description="Highest share of unusable items; the run fails above it.",
    ) = 0.01,
    champion: Input(
        type="mlflow_model",
        optional=True,
        description="Model in production, compared with the new model on the same test items.",
    ) = None,
    previous_features: Input(
        type="uri_folder",
        optional=True,
        description="Features of an earlier run; only new items are computed.",
    ) = None,
    engine: Input(
        type="string",
        enum=["auto", "tensorflow", "openvino"],
        description="Engine that computes the features; auto selects the fastest whose features "
        "agree with TensorFlow's.",
    ) = "auto",
    engine_precision: Input(
        type="string",
        enum=["float32", "bfloat16", "float16"],
        description="Precision of products; fewer bits are faster.",
    ) = "float32",
    balance_classes: Input(
        type="boolean", description="Weight each class by the inverse of its share."
    ) = False,
    min_accuracy: Input(
        type="number",
        optional=True,
        min=0.0,
        max=1.0,
        description="Lowest accuracy for registration.",
    ) = None,
    min_accuracy_gain: Input(
        type="number",
        optional=True,
        min=-1.0,
        max=1.0,
        description="Lowest accuracy gain over the champion; the lower end of the gain's 95 % "
        "interval must reach it.",
    ) = None,
    model_name: Input(
        type="string", description="Name of the model in the registry."
    ) = "transfer-learning",
    trigger_time: Input(
        type="string",
        optional=True,
        description="Time at which a schedule started the run; schedules set it.",
    ) = None,
):
    """Train a head on a frozen encoder, which runs once per item."""
    imported = import_encoder(source=encoder, handle=handle, unpinned=unpinned)
    snapshot = snapshot_data(
        source=source, split_salt=split_salt, max_rejected_fraction=max_rejected_fraction
    )
    features = extract_features(
        snapshot=snapshot.outputs.snapshot,
        encoder=imported.outputs.encoder,
        previous_features=previous_features,
        engine=engine,
        engine_precision=engine_precision,
    )
    head = train_head(
        features=features.outputs.features,
        encoder=imported.outputs.encoder,
        balance_classes=balance_classes,
    )
    evaluation = evaluate(
        model=head.outputs.model,
        snapshot=snapshot.outputs.snapshot,
        champion=champion,
        min_accuracy=min_accuracy,
        min_accuracy_gain=min_accuracy_gain,
    )
    registration = register_model(
        model=head.outputs.model,
        evidence=evaluation.outputs.evidence,
        champion=champion,
        model_name=model_name,
        owner=owner,
        trigger_time=trigger_time,
    )
    return {
        "snapshot": snapshot.outputs.snapshot,
        "features": features.outputs.features,
        "model": head.outputs.model,
        "report": evaluation.outputs.report,
        "evidence": evaluation.outputs.evidence,
        "registration": registration.outputs.registration,
    }
