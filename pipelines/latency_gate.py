"""latency_gate: Find the fastest runtime of a trained model, and register it within a budget."""

from azure.ai.ml import dsl

from tfhub_blocks import like
from tfhub_blocks.components import check_latency, evaluate, register_model


@dsl.pipeline(
    name="latency_gate",
    display_name="Latency gate",
    description="Evaluate a trained model, find the fastest runtime with the same answers, and "
    "register both if the runtime meets a latency budget.",
)
def latency_gate(
    model: like(evaluate, "model"),
    snapshot: like(evaluate, "snapshot"),
    owner: like(register_model, "owner"),
    champion: like(evaluate, "champion"),
    compute_size: like(
        check_latency,
        "compute_size",
        description="Azure's name for the machine size of the latency step and of the endpoint.",
    ),
    p50_ms: like(check_latency, "p50_ms"),
    p95_ms: like(check_latency, "p95_ms"),
    p99_ms: like(check_latency, "p99_ms"),
    items_per_s: like(check_latency, "items_per_s"),
    cold_start_s: like(check_latency, "cold_start_s"),
    memory_mb: like(check_latency, "memory_mb"),
    tolerance: like(check_latency, "tolerance"),
    engines: like(check_latency, "engines"),
    precisions: like(check_latency, "precisions"),
    threads: like(check_latency, "threads"),
    batch_sizes: like(check_latency, "batch_sizes"),
    windows_ms: like(check_latency, "windows_ms"),
    requests: like(check_latency, "requests"),
    seconds: like(check_latency, "seconds"),
    min_accuracy: like(evaluate, "min_accuracy"),
    min_test_items: like(evaluate, "min_test_items"),
    min_class_test_items: like(evaluate, "min_class_test_items"),
    min_accuracy_gain: like(evaluate, "min_accuracy_gain"),
    model_name: like(register_model, "model_name", default="latency-gate"),
    trigger_time: like(register_model, "trigger_time"),
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
        min_test_items=min_test_items,
        min_class_test_items=min_class_test_items,
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
