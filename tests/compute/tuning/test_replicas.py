"""Replicas train as one does, by TensorFlow's strategies: two devices, or processes, that are."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfhub_blocks.compute.tuning.replicas import ALONE, Replicas
from tfhub_blocks.records.base.worker_group import Worker, tf_config, worker_of_this_process

TRAIN = """
import json, os, sys
from pathlib import Path
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.compute.cutting.encoder_cuts import cut_encoder
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.tuning.tuning_run import TuningOptions, fine_tune
from tfhub_blocks.compute.tuning.replicas import Replicas, replicas_here
from tfhub_blocks.records.formats.snapshots import open_snapshot
from tfhub_blocks.records.base.worker_group import Worker, worker_of_this_process

snapshot, encoder, work, devices, batch_size = sys.argv[1:]
if int(devices) > 1:
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * int(devices)
    tf.config.set_logical_device_configuration(cpu, parts)
    names = [f"CPU:{n}" for n in range(int(devices))]
    replicas = Replicas(Worker(), tf.distribute.MirroredStrategy(names))
else:
    replicas = replicas_here(worker_of_this_process("test"))
cut = cut_encoder(load_encoder(Path(encoder), "test"), "test")
options = TuningOptions(epochs=4, batch_size=int(batch_size), dtype="float32", learning_rate=1e-2)
tuned = fine_tune(
    open_snapshot(Path(snapshot), "test"), cut, cut.cuts[0], None, options, Path(work),
    lambda _: lambda *_: None, None, replicas,
)
told = {"replicas": replicas.count}
if tuned:
    told["losses"] = [[e.train_loss, e.validation_log_loss] for e in tuned.trained.epochs]
    values = [*tuned.trained.values, tuned.head.weights]
    told["sums"] = [float(abs(value).sum()) for value in values]
replicas.wait()
print(json.dumps(told))
"""


def started(work: Path, *given: object, **variables: str) -> subprocess.Popen:
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, *map(str, given[:2]), str(work), *map(str, given[2:])],
        env=os.environ | {"PYTHONPATH": str(root), "TFHUB_BLOCKS_ENCODER_POLICY": "experiment"}
        | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def told(process: subprocess.Popen) -> dict:
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


@pytest.fixture(scope="module")
def alone(coloured_snapshot: Path, keras_encoder: Path, tmp_path_factory) -> dict:
    """With batches of 30, which three replicas share evenly and four do not."""
    work = tmp_path_factory.mktemp("alone")
    return told(started(work, coloured_snapshot, keras_encoder, 1, 30))


def hold_to(alone: dict, found: dict, replicas: int) -> None:
    assert found["replicas"] == replicas
    np.testing.assert_allclose(found["losses"], alone["losses"], rtol=1e-5)
    np.testing.assert_allclose(found["sums"], alone["sums"], rtol=1e-4)
    # It trains at all.
    assert alone["losses"][-1][0] < 0.95 * alone["losses"][0][0]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_devices_of_one_process_give_the_losses_of_one(
    devices: int, alone: dict, coloured_snapshot: Path, keras_encoder: Path, tmp_path: Path
) -> None:
    hold_to(alone, told(started(tmp_path, coloured_snapshot, keras_encoder, devices, 30)), devices)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_give_the_losses_of_one(
    workers: int, alone: dict, coloured_snapshot: Path, keras_encoder: Path, tmp_path: Path
) -> None:
    addresses = free_addresses(workers)
    given = (tmp_path, coloured_snapshot, keras_encoder, 1, 30)
    processes = [started(*given, TF_CONFIG=tf_config(addresses, index)) for index in range(workers)]
    first, *others = map(told, processes)
    hold_to(alone, first, workers)
    assert others == [{"replicas": workers}] * (workers - 1)


@pytest.mark.slow
def test_a_worker_that_is_gone_is_told_by_the_others(
    coloured_snapshot: Path, keras_encoder: Path, tmp_path: Path
) -> None:
    addresses = free_addresses(2)
    given = (tmp_path, coloured_snapshot, keras_encoder, 1)
    first = started(*given, 30, TF_CONFIG=tf_config(addresses, 0))
    # Ends by itself, since its batches are too small to be shared.
    other = started(*given, 1, TF_CONFIG=tf_config(addresses, 1))
    assert "1 items are too few for 2 replicas" in other.communicate(timeout=240)[1]
    _, errors = first.communicate(timeout=240)
    assert first.returncode != 0
    assert (
        "[fine_tune > worker 0 of 2 (the first is 0)] another worker has stopped before the end of "
        "the training. Read the logs of the other workers for the cause, then run the step again"
    ) in errors


def test_shares_are_all_of_a_batch_once() -> None:
    class Two:
        class extended:  # noqa: N801
            worker_devices = ("a", "b")

    shares = [Replicas(Worker(index, 3), Two).shares(32) for index in range(3)]
    rows = [row for own in shares for share in own for row in range(32)[share]]
    assert rows == list(range(32))
    assert {len(range(32)[share]) for own in shares for share in own} == {5, 6}
    assert ALONE.shares(7) == [slice(0, 7)]


def test_alone_is_what_a_process_without_others_is(monkeypatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert worker_of_this_process("test") == ALONE.worker
    assert ALONE.count == 1
