"""transfer_learning: Train, evaluate and register a head on a frozen encoder's features."""

from azure.ai.ml import dsl

from tfhub_blocks import like
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
    source: like(snapshot_data, "source"),
    owner: like(register_model, "owner"),
    encoder: like(import_encoder, "source"),
    handle: like(
        import_encoder,
        "handle",
        description="Address of a TF Hub or Kaggle model. Set this or encoder.",
    ),
    unpinned: like(import_encoder, "unpinned"),
    split_salt: like(snapshot_data, "split_salt"),
    max_rejected_fraction: like(snapshot_data, "max_rejected_fraction"),
    champion: like(evaluate, "champion"),
    previous_features: like(extract_features, "previous_features"),
    engine: like(extract_features, "engine"),
    engine_precision: like(extract_features, "engine_precision"),
    balance_classes: like(train_head, "balance_classes"),
    min_accuracy: like(evaluate, "min_accuracy"),
    min_accuracy_gain: like(evaluate, "min_accuracy_gain"),
    model_name: like(register_model, "model_name", default="transfer-learning"),
    trigger_time: like(register_model, "trigger_time"),
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
