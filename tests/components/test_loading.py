"""One encoder by each decision on loading, in step processes; two of them without a network."""

import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tfhub_blocks.control.local.step_process import step_environment
from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.formats.features import open_features
from tfhub_blocks.records.pins.pins import Decisions, Pin, read_pin

# What a step's process may not do where nothing is downloaded; it ends at once if it does.
NO_SOCKETS = """
import os, runpy, socket, sys

def watch(event, arguments):
    made = event == "socket.__new__" and arguments[1] != socket.AF_UNIX
    asked = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect")
    if made or asked:
        caller = sys._getframe(2).f_code.co_name
        # urllib3 looks, as it is imported, whether there is IPv6 at all: by binding, to itself.
        if caller == "_has_ipv6":
            raise OSError("no sockets here")
        os.write(2, f"SOCKET {event} {caller}\\n".encode())
        os._exit(97)

sys.addaudithook(watch)
runpy.run_path(os.environ["STEP_SITE"] + "/sitecustomize.py")
"""


@pytest.fixture(scope="session")
def no_sockets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of a step in which any socket ends the process."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(NO_SOCKETS)
    return {"PYTHONPATH": str(site), "STEP_SITE": step_environment({})["PYTHONPATH"]}


@pytest.fixture
def decided(imported_encoder: Path, tmp_path: Path) -> Callable[..., tuple[Path, Pin]]:
    """``decided(loading, handle="x")`` gives a folder with the small encoder's pin alone."""

    def decide(loading: str, handle: str = "folder:small") -> tuple[Path, Pin]:
        pin = read_pin(imported_encoder / "encoder.toml")
        pin = replace(pin, handle=handle, decisions=Decisions(loading))
        folder = tmp_path / loading
        folder.mkdir()
        pin.write(folder / "encoder.toml")
        return folder, pin

    return decide


@pytest.fixture
def features(write_test_snapshot, jpeg, execute_step, tmp_path) -> Callable[..., object]:
    """Imports an encoder, extracts features, and gives the outcome and the vectors."""
    snapshot = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(12)))

    def extract(name: str, source: Path, **variables: str) -> list[list[float]]:
        encoder, output = tmp_path / f"{name}-encoder", tmp_path / f"{name}-features"
        # OpenVINO's package reports its use unless it is kept from it.
        given = {"snapshot": snapshot, "encoder": encoder, "engine": "openvino"}
        for step, inputs, outputs in [
            ("import_encoder", {"source": source}, {"encoder": encoder}),
            ("extract_features", given, {"features": output}),
        ]:
            done = execute_step(step, inputs, outputs, **variables)
            assert done.returncode == 0, done.stderr
        batches = open_features(output, "test").batches()
        return [row["vector"] for batch in batches for row in batch.to_pylist()]

    return extract


@pytest.fixture
def server(saved_encoder: Path, tmp_path: Path) -> Iterator[str]:
    """Serves the small encoder as an archive, at any path with the query of tfhub.dev."""
    archive = tmp_path / "served" / "small.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(saved_encoder, ".")

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(archive)

        def log_message(self, *_: object) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=archive.parent))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/someone/small/1"
    running.shutdown()
    running.server_close()


@pytest.mark.slow
def test_the_three_ways_give_the_same_features(
    decided, features, imported_encoder, no_sockets, server, tmp_path
):
    """mounted and baked without a socket; what travels with baked and downloaded is the pin."""
    mounted, _ = decided("mounted")
    shutil.copytree(imported_encoder / "saved_model", mounted / "saved_model")
    expected = features("mounted", mounted, **no_sockets)

    baked, pin = decided("baked")
    shutil.copytree(
        imported_encoder / "saved_model", tmp_path / "image" / pin.digest / "saved_model"
    )
    image = {"TFHUB_BLOCKS_ENCODERS": str(tmp_path / "image")}
    assert features("baked", baked, **no_sockets, **image) == expected
    assert read_lineage(tmp_path / "baked-encoder").files.keys() == {"encoder.toml"}

    downloaded, pin = decided("downloaded", server)
    cache = {"TFHUB_BLOCKS_CACHE": str(tmp_path / "cache")}
    assert features("downloaded", downloaded, **cache) == expected
    assert read_lineage(tmp_path / "downloaded-encoder").files.keys() == {"encoder.toml"}
    assert {path.name for path in (tmp_path / "cache").iterdir()} >= {pin.digest}


def test_what_is_given_in_full_is_verified_and_then_left_to_the_image(
    decided, execute_step, imported_encoder, tmp_path
):
    baked, _ = decided("baked")
    shutil.copytree(imported_encoder / "saved_model", baked / "saved_model")
    done = execute_step("import_encoder", {"source": baked}, {"encoder": tmp_path / "a"})
    assert done.returncode == 0, done.stderr
    assert read_lineage(tmp_path / "a").files.keys() == {"encoder.toml"}

    with (baked / "saved_model/saved_model.pb").open("ab") as file:
        file.write(b"\0")
    done = execute_step("import_encoder", {"source": baked}, {"encoder": tmp_path / "b"})
    assert "> saved_model.pb] file saved_model.pb has sha256" in done.stderr


def test_an_image_without_the_encoder_or_with_another_is_told_in_one_line(
    decided, execute_step, imported_encoder, no_sockets, tmp_path
):
    baked, pin = decided("baked")
    image = tmp_path / "image"
    place = image / pin.digest / "saved_model"

    def told() -> str:
        done = execute_step(
            "import_encoder",
            {"source": baked},
            {"encoder": tmp_path / "encoder"},
            TFHUB_BLOCKS_ENCODERS=str(image),
            **no_sockets,
        )
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        return line

    assert told() == (
        f"error: [import_encoder > small] folder {place} does not exist. Expected an image that "
        "contains the encoder, because the pin states loading = 'baked'. Bake the encoder with "
        "`tfhub-blocks env bake` and name that environment in the profile's [environments], or set "
        "loading in the pin to mounted or downloaded."
    )
    shutil.copytree(imported_encoder / "saved_model", place)
    (place / "variables/variables.index").write_bytes(b"other")
    assert "> variables/variables.index] file variables/variables.index has sha256" in told()


def test_the_watch_on_sockets_ends_a_process_that_opens_one(no_sockets):
    script = "import urllib.request as r; r.urlopen('http://127.0.0.1:9')"
    done = subprocess.run(
        [shutil.which("python") or "python", "-c", script],
        env=step_environment(no_sockets),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "SOCKET" in done.stderr) == (97, True)
