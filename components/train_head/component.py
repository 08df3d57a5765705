"""train_head: Train a calibrated linear head on cached features, and write a complete model."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.formats.features import open_features
from tfhub_blocks.records.formats.models import MODEL


@command_component(
    version="1.0.0",
    display_name="Train head",
    description="Train a multinomial logistic regression on cached features, and choose its "
    "regularisation and calibrate it on the validation split. The model contains the preprocessing "
    "and the encoder, so it needs no other files.",
    environment="azureml:tfhub-blocks-cpu:bff2af3ff154",
    tags={"role": "cpu", "category": "train"},
)
def train_head(
    features: Input(type="uri_folder", description="Features from extract_features."),
    encoder: Input(type="custom_model", description="Encoder that computed the features."),
    model: Output(
        type="mlflow_model",
        description="Model that takes bytes or text and returns labels and probabilities.",
    ),
    strengths: Input(
        type="string",
        description="Regularisation strengths to try: numbers separated by commas, or auto.",
    ) = "auto",
    balance_classes: Input(
        type="boolean", description="Weight each class by the inverse of its share."
    ) = False,
    max_iterations: Input(
        type="integer",
        min=1,
        max=100000,
        description="Highest number of L-BFGS iterations for a strength.",
    ) = 1000,
):
    """Train a linear head on features, and write it with the encoder as one model.

    The head is the optimum of its convex loss, so it depends on the features alone.
    """
    with step(train_head, locals()) as run:
        from tfhub_blocks.compute.heads.feature_splits import Split
        from tfhub_blocks.compute.heads.linear_head import fit_head, parse_strengths

        tried = parse_strengths(strengths)
        cached = open_features(Path(features), "train_head")

        from tfhub_blocks.compute.encoders.encoder import load_encoder
        from tfhub_blocks.compute.models.model_writing import write_model

        loaded = load_encoder(Path(encoder), "train_head")
        cached.check_encoder(loaded.digest, "train_head")
        cached.check_ids()
        fit = fit_head(
            Split(*cached.split("train")),
            Split(*cached.split("validation")),
            cached.manifest.labels,
            tried,
            balance_classes,
            max_iterations,
            progress=lambda record: print(
                f"strength {record.strength:<10g} validation log-loss "
                f"{record.validation_log_loss:.4f} after {record.iterations} iterations over "
                f"{record.items} items",
                flush=True,
            ),
        )
        print(f"{fit.method}: {fit.reason}")
        print(f"chosen: strength {fit.strength:g}, temperature {fit.head.temperature:.3f}")
        run.facts.update(fit.as_dict())
        if splits := cached.folder.lineage.provenance.facts.get("splits"):
            run.facts["splits"] = splits
        facts = {
            "encoder_digest": loaded.digest,
            "snapshot_digest": cached.manifest.snapshot_digest,
            "preprocessing": dict(cached.manifest.preprocessing),
            "features": {
                "engine": cached.manifest.engine,
                "precision": cached.manifest.precision,
                "dtype": cached.manifest.dtype,
            },
        }
        write_model(run.begin_output("model", MODEL), loaded, fit.head, facts)
