"""check_latency: Find a model's fastest runtime, and check it against a latency budget."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.formats.runtimes import Speeds


@command_component(
    version="1.0.0",
    display_name="Check latency",
    description="Run a model's reference program and other runtimes on real items, keep the "
    "runtimes with the same answers, and measure the fastest over HTTP under a scheduled load. "
    "The step fails if the measurements exceed the budget.",
    environment="azureml:tfhub-blocks-gpu:e3ee69387942",
    tags={"role": "cpu", "category": "evaluate"},
)
def check_latency(
    snapshot: Input(
        type="uri_folder", description="Snapshot whose test items are sent to the model."
    ),
    report: Output(type="uri_folder", description="report.html, latency.json and plots as PNG."),
    evidence: Output(
        type="uri_file", description="Statement of the measurements, and of the measured model."
    ),
    served_model: Output(
        type="mlflow_model",
        description="Files of the model or encoder, with the chosen runtime in runtime.toml.",
    ),
    model: Input(
        type="mlflow_model",
        optional=True,
        description="Model from train_head or fine_tune, or any MLflow model.",
    ) = None,
    encoder: Input(
        type="custom_model",
        optional=True,
        description="Encoder with a built-in classifier, in place of a model.",
    ) = None,
    evaluation: Input(
        type="uri_folder",
        optional=True,
        description="Report of evaluate about this model and snapshot. The served answers to 200 "
        "items are compared with the evaluated answers; register_model requires this comparison.",
    ) = None,
    compute_size: Input(
        type="string",
        optional=True,
        description="Azure's name for the size of this machine, such as Standard_D2ds_v5. A step "
        "cannot read the size, so this value is not checked.",
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
        description="Budget: lowest throughput, in items per second. Percentiles are measured at "
        "this rate.",
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
        description="Candidates: largest difference between a probability and that of the model's "
        "reference program.",
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
    trust_code: Input(
        type="boolean",
        description="Candidates: run the code of a model that tfhub-blocks did not build.",
    ) = False,
    concurrency: Input(
        type="string",
        description="Load: numbers of simultaneous requests at which capacity is measured, "
        "separated by commas.",
    ) = "1, 2, 4, 8",
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
):
    """Measure runtimes, check the fastest against the budget, and write the model with it.

    ``served_model`` contains the same files as the input, and runtime.toml, which the server reads.
    """
    with step(check_latency, locals()) as run:
        from tfhub_blocks.compute.latency.latency_step import LatencySettings, run_latency_check

        settings = LatencySettings(
            budget=Speeds(p50_ms, p95_ms, p99_ms, items_per_s, cold_start_s, memory_mb),
            compute_size=compute_size,
            tolerance=tolerance,
            engines=engines,
            precisions=precisions,
            threads=threads,
            batch_sizes=batch_sizes,
            windows_ms=windows_ms,
            concurrency=concurrency,
            requests=requests,
            seconds=seconds,
            trust_code=trust_code,
        )
        run_latency_check(
            run,
            Path(model) if model else None,
            Path(encoder) if encoder else None,
            Path(evaluation) if evaluation else None,
            settings,
        )
