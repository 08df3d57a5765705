"""Latency gate: a model that was trained before, evaluated, made fast, held to it, registered."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import check_latency, evaluate, register_model


@dsl.pipeline(
    name="latency_gate",
    display_name="Latency gate",
    description="Evaluate a model, find the runtime that answers soonest and the same, and "
    "register both if a latency budget is kept.",
)
def latency_gate(
    model: Input(type="mlflow_model", description="A model from train_head or fine_tune"),
    snapshot: Input(type="uri_folder", description="Snapshot whose test split is asked"),
    owner: Input(type="string", description="Who answers for the model"),
    champion: Input(
        type="mlflow_model",
        optional=True,
        description="The model in production, to compare with on the same test items",
    ) = None,
    compute_size: Input(
        type="string",
        optional=True,
        description="What Azure calls the machine of this step and of the endpoint",
    ) = None,
    p50_ms: Input(type="number", optional=True, min=0.0, description="Budget: most p50") = None,
    p95_ms: Input(type="number", optional=True, min=0.0, description="Budget: most p95") = None,
    p99_ms: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Budget: most p99; or what the encoder's pin decides, if that is less",
    ) = None,
    items_per_s: Input(
        type="number", optional=True, min=0.001, description="Budget: least items in a second"
    ) = None,
    cold_start_s: Input(
        type="number", optional=True, min=0.0, description="Budget: most seconds until ready"
    ) = None,
    memory_mb: Input(
        type="number", optional=True, min=0.0, description="Budget: most memory, in 10**6 bytes"
    ) = None,
    tolerance: Input(
        type="number", min=0.0, max=1.0, description="How far a served probability may be off"
    ) = 1e-5,
    engines: Input(
        type="string", description="Candidates: what computes, with commas between"
    ) = "own, tensorflow, openvino",
    precisions: Input(
        type="string", description="Candidates: what products are computed in"
    ) = "float32, bfloat16",
    threads: Input(
        type="string", description="Candidates: threads of one computation; auto is 1 and all cores"
    ) = "auto",
    batch_sizes: Input(
        type="string", description="Candidates: most items that are computed together"
    ) = "1",
    windows_ms: Input(
        type="string", description="Candidates: how long a batch waits for more items"
    ) = "2",
    requests: Input(
        type="integer", min=400, max=1000000, description="Load: requests behind the percentiles"
    ) = 1000,
    seconds: Input(
        type="number", min=0.2, max=600.0, description="Load: how long each candidate is timed"
    ) = 4.0,
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
    model_name: Input(type="string", description="Name in the model registry") = "latency-gate",
    trigger_time: Input(
        type="string", optional=True, description="When a schedule fired; schedules fill it in"
    ) = None,
):
    """The third pattern: no training; what was trained is put to work within a budget.

    The runtime's answers are held against those of the evaluation, which is about the very files
    that are registered, but for the runtime beside them.
    """
    evaluation = evaluate(
        model=model,
        snapshot=snapshot,
        champion=champion,
        min_accuracy=min_accuracy,
        min_accuracy_gain=min_accuracy_gain,
    )
    check = check_latency(
        model=model,
        snapshot=snapshot,
        evaluation=evaluation.outputs.report,
        compute_size=compute_size,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        items_per_s=items_per_s,
        cold_start_s=cold_start_s,
        memory_mb=memory_mb,
        tolerance=tolerance,
        engines=engines,
        precisions=precisions,
        threads=threads,
        batch_sizes=batch_sizes,
        windows_ms=windows_ms,
        requests=requests,
        seconds=seconds,
    )
    registration = register_model(
        model=check.outputs.served_model,
        evidence=evaluation.outputs.evidence,
        latency=check.outputs.evidence,
        compute_size=compute_size,
        champion=champion,
        model_name=model_name,
        owner=owner,
        trigger_time=trigger_time,
    )
    return {
        "model": check.outputs.served_model,
        "report": check.outputs.report,
        "evidence": evaluation.outputs.evidence,
        "latency": check.outputs.evidence,
        "registration": registration.outputs.registration,
    }
