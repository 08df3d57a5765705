"""How long a step takes until its encoder is ready: mounted, baked and downloaded, side by side.

Run by ``make bench``. Each way is taken in a process of its own, from its start to the features of
one item, with the sample encoder and with one of 400 MB; downloads come from a server on loopback.
Exit status 1 if what is mounted or baked takes longer than a bound to be verified and loaded.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.pins import pins

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / ".samples" / "encoder"
PADDING_MB = 400
READY_S = 10.0
PROVENANCE = Provenance("bench", {}, (), "0" * 64, "0" * 64, "", "")

STEP = """
import json, sys, time
from pathlib import Path
begun = time.perf_counter()
from tfhub_blocks.compute.encoders.encoder import load_encoder
imported = time.perf_counter()
encoder = load_encoder(Path(sys.argv[1]), "bench")
loaded = time.perf_counter()
encoder.encode(encoder.input.samples()[:1])
first = time.perf_counter()
print(json.dumps([imported - begun, loaded - imported, first - loaded]))
"""


def write_padded(source: Path, folder: Path) -> None:
    """The sample encoder with a large variable more."""
    import numpy as np

    from tfhub_blocks.compute.tf.tensorflow_setup import tf

    class Padded(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tf.saved_model.load(str(source))
            random = np.random.default_rng(0)
            values = random.standard_normal(PADDING_MB * 2**18, np.float32)
            self.padding = tf.Variable(values, trainable=False)

        @tf.function(
            input_signature=[tf.TensorSpec([None, 224, 224, 3], tf.float32)], autograph=False
        )
        def __call__(self, images: tf.Tensor) -> tf.Tensor:
            return self.inner(images) + 0.0 * self.padding[0]

    tf.saved_model.save(Padded(), str(folder))


@contextmanager
def served(saved_model: Path, folder: Path) -> Iterator[str]:
    """The address of a server that gives a SavedModel as tfhub.dev does."""
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(saved_model, ".")

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(archive)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/bench/encoder/1"
    server.shutdown()
    server.server_close()
    archive.unlink()


def write_imported(pin: pins.Pin, saved_model: Path, folder: Path) -> Path:
    """What import_encoder hands on for a pin."""
    partial = begin_folder(folder, PROVENANCE)
    if pin.decisions.model_travels:
        shutil.copytree(saved_model, partial / pins.SAVED_MODEL_FOLDER)
    pin.write(partial / pins.PIN_NAME)
    finish_folder(folder, "encoder", pins.FORMAT, PROVENANCE)
    return folder


def seconds(folder: Path, variables: dict[str, str]) -> list[float]:
    """Whole, imports, verified and loaded, first item."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STEP, str(folder)],
        env=os.environ | variables | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return [time.monotonic() - started, *json.loads(done.stdout)]


def measure(title: str, pin: pins.Pin, saved_model: Path, work: Path, repeats: int) -> bool:
    shutil.copytree(saved_model, work / "image" / pin.digest / pins.SAVED_MODEL_FOLDER)
    variables = {
        "TFHUB_BLOCKS_ENCODERS": str(work / "image"),
        "TFHUB_BLOCKS_CACHE": str(work / "cache"),
    }
    print(f"\n{title}, {sum(f.size_bytes for f in pin.files.values()) / 1e6:.0f} MB, in seconds")
    print(f"{'':<24}{'whole':>8}{'imports':>9}{'loading':>9}{'first item':>12}{'travels':>12}")
    kept = True
    with served(saved_model, work) as handle:
        pin = replace(pin, handle=handle)
        for name, loading in [
            ("mounted", "mounted"),
            ("baked", "baked"),
            ("downloaded, first time", "downloaded"),
            ("downloaded, in cache", "downloaded"),
        ]:
            decided = replace(pin, decisions=pins.Decisions(loading))
            folder = write_imported(decided, saved_model, work / name)
            runs = []
            for _ in range(repeats):
                if "first" in name:
                    shutil.rmtree(work / "cache", ignore_errors=True)
                runs.append(seconds(folder, variables))
            whole, imports, load, first = (
                statistics.median(column) for column in zip(*runs, strict=True)
            )
            size_mb = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
            print(
                f"{name:<24}{whole:8.1f}{imports:9.1f}{load:9.2f}{first:12.2f}{size_mb:9.2f} MB",
                flush=True,
            )
            kept &= "first" in name or load < READY_S
    return kept


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    pin = pins.read_pin(SAMPLE / pins.PIN_NAME)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        (work / "sample").mkdir()
        (work / "padded").mkdir()
        sample = SAMPLE / pins.SAVED_MODEL_FOLDER
        kept = measure("EfficientNet-Lite0", pin, sample, work / "sample", repeats)
        write_padded(sample, work / "large")
        files = pins.hashed_files(work / "large")
        large = replace(pin, files=files, digest=pins.files_digest(files))
        kept &= measure("A large encoder", large, work / "large", work / "padded", repeats)
    print(f"\nmounted and baked are verified and loaded within {READY_S:g} s: {kept}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
