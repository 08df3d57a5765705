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
    facts: like(import_encoder, "facts"),
    follow_links: like(
        snapshot_data,
        "follow_links",
        description="Read files outside of source and encoder to which links lead, and record "
        "them; otherwise such links are refused.",
    ),
    previous_snapshot: like(snapshot_data, "previous"),
    modality: like(snapshot_data, "modality"),
    label_column: like(snapshot_data, "label_column"),
    respect_splits: like(snapshot_data, "respect_splits"),
    group_by: like(snapshot_data, "group_by"),
    near_duplicates: like(snapshot_data, "near_duplicates"),
    split_salt: like(snapshot_data, "split_salt"),
    validation_fraction: like(snapshot_data, "validation_fraction"),
    test_fraction: like(snapshot_data, "test_fraction"),
    max_rejected_fraction: like(snapshot_data, "max_rejected_fraction"),
    max_pixels: like(snapshot_data, "max_pixels"),
    max_seconds: like(snapshot_data, "max_seconds"),
    champion: like(evaluate, "champion"),
    previous_features: like(extract_features, "previous_features"),
    engine: like(extract_features, "engine"),
    engine_precision: like(extract_features, "engine_precision"),
    engine_max_difference: like(extract_features, "engine_max_difference"),
    balance_classes: like(train_head, "balance_classes"),
    min_accuracy: like(evaluate, "min_accuracy"),
    min_test_items: like(evaluate, "min_test_items"),
    min_class_test_items: like(evaluate, "min_class_test_items"),
    min_accuracy_gain: like(evaluate, "min_accuracy_gain"),
    model_name: like(register_model, "model_name", default="transfer-learning"),
    trigger_time: like(register_model, "trigger_time"),
):
    """Train a head on a frozen encoder, which runs once per item."""
    imported = import_encoder(
        source=encoder, handle=handle, unpinned=unpinned, facts=facts, follow_links=follow_links
    )
    snapshot = snapshot_data(
        source=source,
        previous=previous_snapshot,
        modality=modality,
        label_column=label_column,
        respect_splits=respect_splits,
        group_by=group_by,
        near_duplicates=near_duplicates,
        split_salt=split_salt,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        min_test_items=min_test_items,
        min_class_test_items=min_class_test_items,
        min_accuracy_gain=min_accuracy_gain,
        max_rejected_fraction=max_rejected_fraction,
        max_pixels=max_pixels,
        max_seconds=max_seconds,
        follow_links=follow_links,
    )
    features = extract_features(
        snapshot=snapshot.outputs.snapshot,
        encoder=imported.outputs.encoder,
        previous_features=previous_features,
        engine=engine,
        engine_precision=engine_precision,
        engine_max_difference=engine_max_difference,
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
        min_test_items=min_test_items,
        min_class_test_items=min_class_test_items,
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
