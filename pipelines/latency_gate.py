"""latency_gate: Find the fastest runtime of a trained model, and register it within a budget."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import check_latency, evaluate, register_model


@dsl.pipeline(
    name="latency_gate",
    display_name="Latency gate",
    description="Evaluate a trained model, find the fastest runtime with the same answers, and "
    "register both if the runtime meets a latency budget.",
)
def latency_gate(
    model: Input(type="mlflow_model", description="Model from train_head or fine_tune."),
    snapshot: Input(type="uri_folder", description="Snapshot whose test split is used."),
    owner: Input(type="string", description="Person or team that is responsible for the model."),
    champion: Input(
        type="mlflow_model",
        optional=True,
        description="Model in production, compared with the model on the same test items.",
    ) = None,
    compute_size: Input(
        type="string",
        optional=True,
        description="Azure's name for the machine size of the latency step and of the endpoint.",
    ) = None,
    p50_ms: Input(
        type="number", optional=True, min=0.0, description="Budget: highest p50 latency, in ms."
    ) = None,
    p95_ms: Input(
        type="number", optional=True, min=0.0, description="Budget: highest p95 latency, in ms."
    ) = None,
    p99_ms: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Budget: highest p99 latency, in ms. The lower of this value and the budget "
        "in the encoder's pin applies.",
    ) = None,
    items_per_s: Input(
        type="number",
        optional=True,
        min=0.001,
        description="Budget: lowest throughput, in items per second.",
    ) = None,
    cold_start_s: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Budget: longest time until the server is ready, in seconds.",
    ) = None,
    memory_mb: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Budget: highest memory use, in units of 10**6 bytes.",
    ) = None,
    tolerance: Input(
        type="number",
        min=0.0,
        max=1.0,
        description="Largest difference of a served probability from that of the reference "
        "program.",
    ) = 1e-5,
    engines: Input(
        type="string",
        description="Candidates: engines, separated by commas; own is the reference program.",
    ) = "own, tensorflow, openvino",
    precisions: Input(
        type="string", description="Candidates: precisions of products, separated by commas."
    ) = "float32, bfloat16",
    threads: Input(
        type="string",
        description="Candidates: numbers of threads for one computation, separated by commas; "
        "auto tries 1 and the number of cores.",
    ) = "auto",
    batch_sizes: Input(
        type="string", description="Candidates: largest batch sizes in items, separated by commas."
    ) = "1",
    windows_ms: Input(
        type="string",
        description="Candidates: times in ms that a batch waits for more items, separated by "
        "commas.",
    ) = "2",
    requests: Input(
        type="integer",
        min=400,
        max=1000000,
        description="Load: number of requests from which percentiles are computed.",
    ) = 1000,
    seconds: Input(
        type="number",
        min=0.2,
        max=600.0,
        description="Load: time for which each candidate is measured, in seconds.",
    ) = 4.0,
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
    ) = "latency-gate",
    trigger_time: Input(
        type="string",
        optional=True,
        description="Time at which a schedule started the run; schedules set it.",
    ) = None,
):
    """Find and register a runtime for a trained model within a latency budget.

    The runtime's answers are compared with those of the evaluation. The evaluated files are the
    registered files, apart from the added runtime.
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
