"""fine_tuning: Train a head, then the upper part of the encoder; register the better model."""

from azure.ai.ml import dsl

from tfhub_blocks import like
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
    engine: like(extract_features, "engine"),
    champion: like(evaluate, "champion"),
    trainable: like(fine_tune, "trainable"),
    most_s: like(fine_tune, "most_s"),
    most_disk_gb: like(fine_tune, "most_disk_gb"),
    epochs: like(fine_tune, "epochs"),
    batch_size: like(fine_tune, "batch_size"),
    learning_rate: like(fine_tune, "learning_rate"),
    balance_classes: like(train_head, "balance_classes"),
    seed: like(fine_tune, "seed"),
    min_accuracy: like(evaluate, "min_accuracy"),
    min_test_items: like(evaluate, "min_test_items"),
    min_class_test_items: like(evaluate, "min_class_test_items"),
    min_accuracy_gain: like(evaluate, "min_accuracy_gain"),
    model_name: like(register_model, "model_name", default="fine-tuning"),
    trigger_time: like(register_model, "trigger_time"),
):
    """Fine-tune the part of an encoder above a cut; the part below runs once per item.

    The step fine_tune returns the better of the probe and the tuned model on the validation split.
    That model is registered. Both models are measured on the test split.
    """
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
        snapshot=snapshot.outputs.snapshot, encoder=imported.outputs.encoder, engine=engine
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
        most_s=most_s,
        most_disk_gb=most_disk_gb,
        engine=engine,
        epochs=epochs,
        batch_size=batch_size,
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
        min_test_items=min_test_items,
        min_class_test_items=min_class_test_items,
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
