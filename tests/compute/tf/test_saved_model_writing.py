import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfhub_blocks.compute.tf.saved_model_writing import save_module
from tfhub_blocks.records.base.errors import BlocksError


class Scaler(tf.Module):
    """Small, with what makes names: variables, captured constants, a loop, a nested function."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = {name: tf.Variable(2.0, name=name) for name in ("b", "a", "c")}
        self.offset = tf.constant([1.0])

    @tf.function
    def inner(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.scales["a"] * self.scales["b"] * self.scales["c"] + self.offset

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="inputs")])
    def serve(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        looped = tf.map_fn(lambda x: x + 1, self.inner(inputs))
        return {"default": self.inner(looped), "again": looped}


def save(folder: Path) -> None:
    module = Scaler()
    save_module(module, folder, {"serving_default": module.serve, "other": module.serve})


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def save_in_process(folder: Path, hash_seed: int, traced_before: int) -> None:
    script = (
        "import pathlib, sys, tensorflow as tf, test_saved_model_writing\n"
        f"for n in range({traced_before}): tf.function(lambda x: x + n)(1.0)\n"
        "test_saved_model_writing.save(pathlib.Path(sys.argv[1]))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", script, folder], env=environment, check=True)


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    save_in_process(tmp_path / "elsewhere" / "a", hash_seed=2, traced_before=40)
    save(tmp_path / "b")
    assert digests(tmp_path / "elsewhere" / "a") == digests(tmp_path / "b")


def test_different_weights_give_different_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a")
    module = Scaler()
    module.scales["a"].assign(3.0)
    save_module(module, tmp_path / "b", {"serving_default": module.serve, "other": module.serve})
    assert digests(tmp_path / "a") != digests(tmp_path / "b")


def test_plain_load_gives_the_module_back_without_a_warning(tmp_path: Path, caplog, capfd) -> None:
    save(tmp_path / "a")
    capfd.readouterr()
    with caplog.at_level(logging.WARNING):
        loaded = tf.saved_model.load(str(tmp_path / "a"))
    assert caplog.records == []
    assert "ingerprint" not in capfd.readouterr().err
    x = tf.constant([1.0, 2.0])
    module = Scaler()
    expected = module.serve(x)
    for outputs in (loaded.serve(x), loaded.signatures["other"](inputs=x)):
        np.testing.assert_array_equal(outputs["default"], expected["default"])
        np.testing.assert_array_equal(outputs["again"], expected["again"])


def test_loaded_module_inside_another_is_saved_the_same_again(tmp_path: Path) -> None:
    save(tmp_path / "inner")
    for name in ("a", "b"):
        outer = tf.Module()
        outer.inner = tf.saved_model.load(str(tmp_path / "inner"))
        save_module(outer, tmp_path / name, {"serving_default": outer.inner.serve})
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    loaded = tf.saved_model.load(str(tmp_path / "b"))
    x = tf.constant([3.0])
    outputs = loaded.signatures["serving_default"](inputs=x)
    # 3 * 2 ** 3 + 1, then one more in the loop, then the same again.
    np.testing.assert_array_equal(outputs["default"], [26 * 8 + 1])


def test_folder_that_holds_something_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BlocksError, match="contains files already"):
        save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_failed_save_leaves_nothing(tmp_path: Path) -> None:
    module = Scaler()
    untraceable = tf.function(lambda x: x)
    with pytest.raises(ValueError, match="signature"):
        save_module(module, tmp_path / "a", {"serving_default": untraceable})
    assert list(tmp_path.iterdir()) == []
