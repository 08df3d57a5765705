"""fine_tuning: Train a head, then the upper part of the encoder; register the better model."""

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
    description="Train a head on frozen features, then train the upper part of the encoder with "
    "it. Evaluate both models and register the better model.",
)
def fine_tuning(
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
    trainable: Input(
        type="string",
        description="Part of the encoder to train: blocks from the top, a share of the forward "
        "pass, or the beginning of a variable's name (tfhub-blocks encoder cuts lists them).",
    ) = "0.33",
    epochs: Input(
        type="integer", optional=True, min=1, max=1000, description="Highest number of epochs."
    ) = None,
    learning_rate: Input(
        type="number",
        optional=True,
        min=1e-8,
        max=1.0,
        description="Learning rate of the topmost block and the head.",
    ) = None,
    balance_classes: Input(
        type="boolean", description="Weight each class by the inverse of its share."
    ) = False,
    seed: Input(type="integer", min=0, description="Seed of the order of items in training.") = 0,
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
    ) = "fine-tuning",
    trigger_time: Input(
        type="string",
        optional=True,
        description="Time at which a schedule started the run; schedules set it.",
    ) = None,
):
    """Fine-tune the part of an encoder above a cut; the part below runs once per item.

    The step fine_tune returns the better of the probe and the tuned model on the validation split.
    That model is registered. Both models are measured on the test split.
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
