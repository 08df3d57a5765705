"""TensorFlow as steps import it."""

import subprocess
import sys

KERAS = """
import sys
from tfhub_blocks.compute.tf.tensorflow_setup import tf
assert "keras" not in sys.modules, "TensorFlow imported it by itself"
from tensorflow.keras.optimizers import Adam
assert tf.keras.optimizers.Adam is Adam and Adam.__module__.startswith("keras.")
"""


def test_keras_is_imported_only_for_who_asks_for_it():
    done = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
