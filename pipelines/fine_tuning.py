"""Fine-tuning: the upper part of an encoder and a head, from a linear probe; both evaluated."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import (
    evaluate,
    extract_features,
    fine_tune,
    import_encoder,
    register_model,
    snapshot_data,
    train_head,
)


@dsl.pipeline(
    name="fine_tuning",
    display_name="Fine-tuning",
    description="Train a head on frozen features, then the upper part of the encoder with it; "
    "evaluate both and register the better.",
)
def fine_tuning(
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
    trainable: Input(
        type="string",
        description="Blocks from the top, share of the forward pass, or a variable's name "
        "(tfhub-blocks encoder cuts)",
    ) = "0.33",
    epochs: Input(type="integer", optional=True, min=1, max=1000, description="Most epochs") = None,
    learning_rate: Input(
        type="number", optional=True, min=1e-8, max=1.0, description="Of the topmost block"
    ) = None,
    balance_classes: Input(type="boolean", description="Weigh rare classes up") = False,
    seed: Input(type="integer", min=0, description="Of the order of items in training") = 0,
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
    model_name: Input(type="string", description="Name in the model registry") = "fine-tuning",
    trigger_time: Input(
        type="string", optional=True, description="When a schedule fired; schedules fill it in"
    ) = None,
):
    """The second pattern: what lies below a cut runs once per item, what lies above is trained.

    What fine_tune gives is the better of the probe and the tuned already, on validation, so that
    is what is registered; both are measured on the test split.
    """
    imported = import_encoder(source=encoder, handle=handle, unpinned=unpinned)
    snapshot = snapshot_data(
        source=source, split_salt=split_salt, max_rejected_fraction=max_rejected_fraction
    )
    features = extract_features(
        snapshot=snapshot.outputs.snapshot, encoder=imported.outputs.encoder
    )
    head = train_head(
        features=features.outputs.features,
        encoder=imported.outputs.encoder,
        balance_classes=balance_classes,
    )
    probe = evaluate(model=head.outputs.model, snapshot=snapshot.outputs.snapshot)
    tuned = fine_tune(
        snapshot=snapshot.outputs.snapshot,
        encoder=imported.outputs.encoder,
        start=head.outputs.model,
        trainable=trainable,
        epochs=epochs,
        learning_rate=learning_rate,
        balance_classes=balance_classes,
        seed=seed,
    )
    evaluation = evaluate(
        model=tuned.outputs.model,
        snapshot=snapshot.outputs.snapshot,
        champion=champion,
        min_accuracy=min_accuracy,
        min_accuracy_gain=min_accuracy_gain,
    )
    registration = register_model(
        model=tuned.outputs.model,
        evidence=evaluation.outputs.evidence,
        champion=champion,
        model_name=model_name,
        owner=owner,
        trigger_time=trigger_time,
    )
    return {
        "snapshot": snapshot.outputs.snapshot,
        "model": tuned.outputs.model,
        "record": tuned.outputs.record,
        "probe_report": probe.outputs.report,
        "report": evaluation.outputs.report,
        "evidence": evaluation.outputs.evidence,
        "registration": registration.outputs.registration,
    }
