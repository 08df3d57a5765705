"""register_model: Register a model with its evidence in the model registry, once."""

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
    description="Register a model if its evidence describes exactly this model and meets all "
    "thresholds. A model for real-time inference also needs evidence of its latency on the target "
    "machine size. Registering the same model again returns the existing version.",
    environment="azureml:tfhub-blocks-cpu:0e8ca113f6d0",
    tags={"role": "cpu", "category": "register"},
    is_deterministic=False,
)
def register_model(
    model: Input(
        type="mlflow_model", description="Model from train_head, fine_tune or check_latency."
    ),
    evidence: Input(type="uri_file", description="Evidence (evidence.json) from evaluate."),
    registration: Output(
        type="uri_file", description="Name, version and digest of the registered model, as JSON."
    ),
    model_name: Input(type="string", description="Name of the model in the registry."),
    owner: Input(type="string", description="Person or team that is responsible for the model."),
    trigger_time: Input(
        type="string",
        optional=True,
        description="Time at which a schedule started the run; schedules set it.",
    ) = None,
    latency: Input(
        type="uri_file",
        optional=True,
        description="Evidence (evidence.json) from check_latency; required for real-time "
        "inference, and for a model with a runtime.",
    ) = None,
    compute_size: Input(
        type="string",
        optional=True,
        description="Azure's name for the machine size on which a real-time model will run.",
    ) = None,
    champion: Input(
        type="mlflow_model",
        optional=True,
        description="Model in production; the evidence must compare with exactly this model.",
    ) = None,
):
    """Register a model and write its name, version and digest.

    This step is never reused from a cache, because its effect lies outside its outputs.
    """
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
