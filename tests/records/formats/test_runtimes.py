import pytest

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime, Speeds, read_runtime

RUNTIME = Runtime(
    "openvino",
    "bfloat16",
    threads=2,
    batch_window_ms=2.5,
    largest_batch=8,
    compute_size="Standard_D4ds_v5",
    budget=Speeds(p99_ms=50.0, items_per_s=20.0),
)


def test_written_runtime_reads_back_as_it_was(tmp_path):
    RUNTIME.write(tmp_path)
    assert read_runtime(tmp_path) == RUNTIME
    assert RUNTIME.name == "openvino bfloat16, 2 threads, 2.5 ms window"


def test_model_without_a_runtime_has_none(tmp_path):
    assert read_runtime(tmp_path) is None


def test_edited_runtime_that_cannot_be_is_refused(tmp_path):
    RUNTIME.write(tmp_path)
    path = tmp_path / "runtime.toml"
    path.write_text(path.read_text().replace("threads = 2", "threads = 0"))
    with pytest.raises(BlocksError) as refusal:
        read_runtime(tmp_path)
    assert str(refusal.value) == (
        f"[{path} > threads] threads is 0. Expected 1 or more. Run the step check_latency again."
    )
