"""Transfer learning: a head on the features of a frozen encoder, evaluated and registered."""

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
        type="uri_folder", description="Class-per-folder files, or a folder with a table"
    ),
    owner: Input(type="string", description="Who answers for the model"),
    encoder: Input(type="custom_model", optional=True, description="Folder of the encoder"),
    handle: Input(
        type="string", optional=True, description="TF Hub or Kaggle handle instead"
    ) = None,
    unpinned: Input(
        type="string",
        enum=["accept", "refuse"],
        description="What to do with an encoder that has no pin",
    ) = "refuse",
    split_salt: Input(type="string", description="Another salt gives other splits") = "splits-1",
    max_rejected_fraction: Input(
        type="number", min=0.0, max=1.0, description="Share of unreadable items to put up with"
    ) = 0.01,
    champion: Input(
        type="mlflow_model",
        optional=True,
        description="The model in production, to compare with on the same test items",
    ) = None,
    previous_features: Input(
        type="uri_folder", optional=True, description="Features of an earlier run, to add to"
    ) = None,
    engine: Input(
        type="string",
        enum=["auto", "tensorflow", "openvino"],
        description="What computes features; auto is the fastest that gives the same",
    ) = "auto",
    engine_precision: Input(
        type="string",
        enum=["float32", "bfloat16", "float16"],
        description="What products are computed in; fewer bits are faster",
    ) = "float32",
    balance_classes: Input(type="boolean", description="Weigh rare classes up") = False,
    min_accuracy: Input(
        type="number", optional=True, min=0.0, max=1.0, description="Least accuracy to register"
    ) = None,
    min_accuracy_gain: Input(
        type="number",
        optional=True,
        min=-1.0,
        max=1.0,
        description="Least accuracy gain over the champion, by the lower end of its interval",
    ) = None,
    model_name: Input(
        type="string", description="Name in the model registry"
    ) = "transfer-learning",
    trigger_time: Input(
        type="string", optional=True, description="When a schedule fired; schedules fill it in"
    ) = None,
):
    """The first pattern: the frozen encoder runs once per item, and only the head is trained."""
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
