"""register_model: a model with evidence, in the model registry, once."""

import json
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.steps import step
from tfhub_blocks.records.evidence import read_evidence
from tfhub_blocks.records.folders import write_file
from tfhub_blocks.records.models import open_model


@command_component(
    version="1.0.0",
    display_name="Register model",
    description="Register a model whose evidence is about exactly this model and met its "
    "thresholds. The same model again gives the version that it has.",
    environment="azureml:tfhub-blocks-cpu:6887d457f02e",
    tags={"role": "cpu", "category": "register"},
    is_deterministic=False,
)
def register_model(
    model: Input(type="mlflow_model", description="A model from train_head or fine_tune"),
    evidence: Input(type="uri_file", description="evidence.json from evaluate"),
    registration: Output(type="uri_file", description="Name, version and digest, as JSON"),
    model_name: Input(type="string", description="Name in the model registry"),
    owner: Input(type="string", description="Who answers for the model"),
    trigger_time: Input(
        type="string", optional=True, description="When the schedule fired that had it made"
    ) = None,
):
    """Never reused from a cache: registering is an effect outside its outputs."""
    with step(register_model, locals()) as run:
        folder, metadata = open_model(Path(model), "register_model")
        proof = read_evidence(Path(evidence), "register_model")

        from tfhub_blocks.compute.registry import register

        record = register(folder, metadata, proof, model_name, owner, trigger_time)
        write_file(run.path("registration"), json.dumps(record, indent=1).encode())
        print(f"{record['name']} version {record['version']}, digest {record['digest']}")
