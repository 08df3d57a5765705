"""register_model: a model with evidence, in the model registry, once."""

import json
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.formats.evidence import read_evidence
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin


@command_component(
    version="1.0.0",
    display_name="Register model",
    description="Register a model whose evidence is about exactly this model and met its "
    "thresholds; for real time, with evidence of its latency on the machine that it is meant for. "
    "The same model again gives the version that it has.",
    environment="azureml:tfhub-blocks-cpu:6887d457f02e",
    tags={"role": "cpu", "category": "register"},
    is_deterministic=False,
)
def register_model(
    model: Input(
        type="mlflow_model", description="A model from train_head, fine_tune or check_latency"
    ),
    evidence: Input(type="uri_file", description="evidence.json from evaluate"),
    registration: Output(type="uri_file", description="Name, version and digest, as JSON"),
    model_name: Input(type="string", description="Name in the model registry"),
    owner: Input(type="string", description="Who answers for the model"),
    trigger_time: Input(
        type="string", optional=True, description="When the schedule fired that had it made"
    ) = None,
    latency: Input(
        type="uri_file",
        optional=True,
        description="evidence.json from check_latency, of a model for real time or with a runtime",
    ) = None,
    compute_size: Input(
        type="string", optional=True, description="The machine that a model for real time runs on"
    ) = None,
    champion: Input(
        type="mlflow_model",
        optional=True,
        description="The model in production: the evidence has to compare with exactly this one",
    ) = None,
):
    """Never reused from a cache: registering is an effect outside its outputs."""
    with step(register_model, locals()) as run:
        from tfhub_blocks.compute.registration.registration_conditions import (
            check_champion,
            check_evidence,
            check_speed,
        )

        folder, metadata = open_model(Path(model), "register_model")
        proof = read_evidence(Path(evidence), "register_model")
        speed = read_evidence(Path(latency), "register_model") if latency else None
        check_evidence(folder.lineage, proof)
        if champion:
            check_champion(open_model(Path(champion), "register_model")[0].lineage, proof)
        decisions = read_pin(folder.file(PIN_NAME)).decisions
        check_speed(folder.lineage, decisions, speed, compute_size)

        from tfhub_blocks.compute.registration.model_registry import register

        record = register(folder, metadata, proof, model_name, owner, trigger_time, speed)
        write_file(run.path("registration"), json.dumps(record, indent=1).encode())
        print(f"{record['name']} version {record['version']}, digest {record['digest']}")
