"""Encoders from each source; downloads from a real server that redirects, stalls, cuts and lies."""

import gzip
import io
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from model_server import serve_models
from toy_pins import toy_pin
from toy_project import PATIENCE_S, wait_for

from tfhub_blocks.compute.sources import downloads
from tfhub_blocks.compute.sources.download_cache import cached_saved_model
from tfhub_blocks.compute.sources.fetching import (
    LOCAL_SOURCES,
    REMOTE_SOURCES,
    fetch_saved_model,
)
from tfhub_blocks.compute.sources.unpacking import unpack
from tfhub_blocks.records.base import http_client
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import Pin, hashed_files

PATH = "/someone/small/1"


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables/v").write_bytes(os.urandom(10**6))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(folder, ".")
    with serve_models() as server:
        server.answers[PATH] = archive.getvalue()
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_BLOCKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "TRIES", 3)
    monkeypatch.setattr(downloads, "BACKOFF_S", 0.01)
    return tmp_path / "cache"


def packed(files: dict[str, bytes], change=lambda info: info) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(change(info), io.BytesIO(content))
    return file.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def pinned(handle: str, folder: Path) -> Pin:
    return toy_pin("small", handle, folder)


def fetched(handle: str, folder: Path, pin: Pin | None = None) -> Path:
    return fetch_saved_model(handle, folder, REMOTE_SOURCES, pin)


def refused(handle: str, folder: Path) -> str:
    with pytest.raises(BlocksError) as caught:
        fetched(handle, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_download_gives_what_the_tensorflow_hub_library_gives(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    import tensorflow_hub as hub

    ours = contents(fetched(server.handle(PATH), tmp_path / "ours"))
    assert ours == contents(Path(hub.resolve(server.handle(PATH))))
    assert ours["saved_model.pb"] == b"graph"


@pytest.mark.parametrize("tail", ["", "/", "?tf-hub-format=compressed", "/?a=b#c"])
def test_spellings_of_an_address_are_one(tail, server, tmp_path):
    assert (fetched(server.handle(PATH) + tail, tmp_path / "a") / "saved_model.pb").is_file()
    assert server.asked == [(PATH, None)]


def test_redirects_are_followed(server, tmp_path):
    server.answers["/moved"] = server.answers[PATH]
    server.faults = [{"redirect": server.handle("/moved?tf-hub-format=compressed")}]
    assert (fetched(server.handle(PATH), tmp_path / "a") / "saved_model.pb").is_file()


def test_a_redirect_to_where_others_can_read_along_is_not_followed(server, tmp_path):
    server.faults = [{"redirect": "http://example.org/model"}]
    told = refused(server.handle(PATH), tmp_path / "a")
    assert "the download failed: http://example.org is not https. Expected a complete file" in told


def test_a_transfer_that_is_cut_off_goes_on_from_there(server, tmp_path):
    server.faults = [{"cut": 300_000}, {"cut": 200_000}]
    fetched(server.handle(PATH), tmp_path / "a")
    assert server.asked == [(PATH, None), (PATH, "bytes=300000-"), (PATH, "bytes=500000-")]


def test_a_transfer_that_stalls_is_begun_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.2)
    server.faults = [{"stall": 2}]
    fetched(server.handle(PATH), tmp_path / "a")
    assert len(server.asked) == 2
    assert int(server.asked[1][1].removeprefix("bytes=").rstrip("-")) > 0


@pytest.mark.parametrize("version", ["", 'W/"weak"'])
def test_where_versions_cannot_be_told_apart_all_is_asked_for_again(version, server, tmp_path):
    server.etag = version
    server.faults = [{"cut": 300_000}]
    fetched(server.handle(PATH), tmp_path / "a")
    assert server.asked == [(PATH, None), (PATH, None)]


def test_what_changed_in_between_is_taken_whole(server, tmp_path):
    def change():
        server.etag = '"two"'
        server.answers[PATH] = packed({"saved_model.pb": b"new"})

    server.faults = [{"cut": 300_000, "then": change}]
    assert contents(fetched(server.handle(PATH), tmp_path / "a")) == {"saved_model.pb": b"new"}
    assert server.asked == [(PATH, None), (PATH, "bytes=300000-")]


LIES = {
    "too long": ({"length": 10**7}, "the transfer ended after 1,0", 3),
    "gone": ({"status": 404}, "the download failed: the server answered 404 Not Found", 1),
    "not allowed": ({"status": 403}, "the download failed: the server answered 403 Forbidden", 1),
    "broken": ({"status": 500}, "failed in 3 tries: the server answered 500 Internal Server", 3),
}


@pytest.mark.parametrize("name", LIES)
def test_what_never_comes_whole_is_told_in_one_line(name, server, tmp_path):
    fault, told, requests = LIES[name]
    server.faults = [fault] * 5
    assert told in refused(server.handle(PATH), tmp_path / "a")
    assert contents(tmp_path / "a") == {}
    assert len(server.asked) == requests


def test_another_part_than_was_asked_for_is_thrown_away(server, tmp_path):
    server.faults = [{"cut": 300_000}, {"start": 7}]
    fetched(server.handle(PATH), tmp_path / "a")
    assert server.asked[1:] == [(PATH, "bytes=300000-"), (PATH, None)]


def test_a_length_that_is_too_short_is_found_when_it_is_unpacked(server, tmp_path):
    server.faults = [{"length": 500_000}]
    assert "archive] the archive cannot be unpacked (" in refused(
        server.handle(PATH), tmp_path / "a"
    )


def test_retry_after_is_kept(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(http_client, "time", SimpleNamespace(sleep=waits.append))
    server.faults = [{"status": 429, "headers": {"Retry-After": "20"}}]
    fetched(server.handle(PATH), tmp_path / "a")
    assert waits == [20.0]


def test_a_server_that_is_not_there_is_told_in_one_line(tmp_path):
    told = refused("http://127.0.0.1:9/someone/small/1", tmp_path / "a")
    assert "in 3 tries: [Errno 111] Connection refused. Expected" in told


def test_certificates_are_always_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "true")
    told = refused("https://tfhub.dev/google/nnlm-en-dim50/2", tmp_path / "a")
    assert "TFHUB_DISABLE_CERT_VALIDATION] the variable is set, so anyone" in told


def test_a_page_instead_of_an_archive_is_told(server, tmp_path):
    server.answers[PATH] = b"<html>moved</html>"
    told = refused(server.handle(PATH), tmp_path / "a")
    assert "archive] the archive cannot be unpacked (BadGzipFile: Not a gzipped file" in told


def test_a_handle_that_nobody_takes_is_told_with_what_was_tried(tmp_path):
    assert refused("lite0", tmp_path / "a") == (
        "[encoder > lite0] no source accepts the handle 'lite0'. Expected a TF Hub or Kaggle "
        "address (https://...); kagglehub:OWNER/MODEL/FRAMEWORK/VARIATION/VERSION; an MLflow model "
        "(models:/NAME/VERSION, runs:/ID/PATH); a model asset (azureml:NAME:VERSION, "
        "azureml://registries/...). Pass a handle of one of these forms."
    )


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
HOSTILE = {
    "leaves": ({"../evil": b"x"}, {}, "../evil] the path leaves the folder"),
    "absolute": ({"/etc/evil": b"x"}, {}, "/etc/evil] the path leaves the folder"),
    "link": ({"saved_model.pb": b""}, LINK, "saved_model.pb] the member is a link or a device"),
    "hard link": (
        {"a": b""},
        LINK | {"type": tarfile.LNKTYPE},
        "a] the member is a link or a device",
    ),
    "device": ({"null": b""}, {"type": tarfile.CHRTYPE}, "null] the member is a link or a device"),
    "pipe": ({"pipe": b""}, {"type": tarfile.FIFOTYPE}, "pipe] the member is a link or a device"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_that_is_no_plain_file_below_is_refused(name, server, tmp_path):
    files, changes, told = HOSTILE[name]

    def change(info):
        for key, value in changes.items():
            setattr(info, key, value)
        return info

    server.answers[PATH] = packed(files, change)
    assert told in refused(server.handle(PATH), tmp_path / "a")
    assert contents(tmp_path / "a") == {}


def test_the_same_file_twice_is_refused(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for content in (b"one", b"two"):
            info = tarfile.TarInfo("saved_model.pb")
            info.size = 3
            tar.addfile(info, io.BytesIO(content))
    (tmp_path / "twice.tar.gz").write_bytes(file.getvalue())
    with pytest.raises(BlocksError, match=r"saved_model.pb\] the file is in the archive twice"):
        unpack(tmp_path / "twice.tar.gz", tmp_path / "a", 100, "test")


def test_an_archive_bomb_is_refused_before_it_is_unpacked(server, tmp_path):
    """Five gigabytes of zeros in five megabytes: they are never written, here neither."""
    zeros, file = bytes(2**20), io.BytesIO()
    info = tarfile.TarInfo("saved_model.pb")
    info.size = 5 * 2**30
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as bomb:
        bomb.write(info.tobuf())
        for _ in range(64):  # the rest would never be read
            bomb.write(zeros)
    server.answers[PATH] = file.getvalue()
    told = refused(server.handle(PATH), tmp_path / "a")
    assert "the archive up to here has 5,368,709,120 bytes in 1 files. Expected at most 4,2" in told
    assert contents(tmp_path / "a") == {}


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2**32
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(2**20)))
    with pytest.raises(BlocksError, match=r"cannot be unpacked \(.*a header of \d+ bytes"):
        unpack(tmp_path / "bomb.tar.gz", tmp_path / "a", 2**40, "test")


def test_a_download_much_larger_than_its_pin_is_refused(server, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small/saved_model.pb").write_bytes(b"graph")
    pin = pinned(server.handle(PATH), tmp_path / "small")
    server.faults = [{"length": 2**30}]
    with pytest.raises(
        BlocksError, match=r"download\] the file has 1,073,741,824 bytes or more\. Exp"
    ):
        fetched(pin.handle, tmp_path / "a", pin)
    assert not [path for path in (tmp_path / "cache/downloads").iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_of_this_machine_are_unpacked(kind, tmp_path):
    files = {"top/saved_model.pb": b"graph", "top/variables/v": b"values"}
    archive = tmp_path / f"model.{kind}"
    if kind == "tar":
        archive.write_bytes(packed(files))
    else:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
    found = fetch_saved_model(str(archive), tmp_path / "a", LOCAL_SOURCES, None)
    assert contents(found) == {"saved_model.pb": b"graph", "variables/v": b"values"}


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as zipped:
        info = zipfile.ZipInfo("saved_model.pb")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(BlocksError, match=r"saved_model.pb\] the member is a link or a device"):
        fetch_saved_model(str(tmp_path / "model.zip"), tmp_path / "a", LOCAL_SOURCES, None)


def test_a_folder_with_two_models_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "two" / name).mkdir(parents=True)
        (tmp_path / "two" / name / "saved_model.pb").touch()
    with pytest.raises(
        BlocksError, match=r"the folder contains 2 SavedModels \(a, b\)\. Expected the"
    ):
        fetch_saved_model(str(tmp_path / "two"), tmp_path / "x", LOCAL_SOURCES, None)


# The cache.


@pytest.fixture
def pin(server, tmp_path):
    """Of what the server holds."""
    return pinned(server.handle(PATH), fetched(server.handle(PATH), tmp_path / "for-the-pin"))


def cached(pin: Pin) -> Path:
    return cached_saved_model(
        pin, lambda empty: fetch_saved_model(pin.handle, empty, REMOTE_SOURCES, pin), "test"
    )


def cached_in_process(pin, queue):
    try:
        queue.put(str(cached(pin)))
    except BaseException as error:
        queue.put(repr(error))


def test_ten_processes_download_once(server, pin, cache):
    server.asked.clear()
    server.faults = [{"stall": 0.5}]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=cached_in_process, args=(pin, queue)) for _ in range(10)]
    for process in processes:
        process.start()
    answers = {queue.get(timeout=PATIENCE_S) for _ in processes}
    for process in processes:
        process.join()
    assert answers == {str(cache / pin.digest)}
    assert hashed_files(cache / pin.digest) == pin.files
    assert len(server.asked) == 1


def test_a_killed_download_is_absent_and_goes_on(server, pin, cache):
    server.asked.clear()
    server.faults = [{"stall": 2 * PATIENCE_S}]
    process = multiprocessing.get_context("fork").Process(target=cached, args=(pin,))
    process.start()
    wait_for(lambda: [p for p in cache.glob("downloads/*") if not p.suffix and p.stat().st_size])
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (cache / pin.digest).exists()
    assert hashed_files(cached(pin)) == pin.files
    assert server.asked[1][1].startswith("bytes=")
    assert not list(cache.glob("downloads/*[!k]"))


def test_what_is_not_as_pinned_never_reaches_the_cache(server, pin, cache):
    server.answers[PATH] = packed({"saved_model.pb": b"planted", "variables/v": b""})
    with pytest.raises(
        BlocksError, match=r"saved_model.pb] file saved_model.pb has sha256 .*as pinned"
    ):
        cached(pin)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == ["downloads"]


def test_what_was_changed_in_the_cache_is_fetched_again(server, pin):
    (cached(pin) / "saved_model.pb").write_bytes(b"planted")
    server.asked.clear()
    assert hashed_files(cached(pin)) == pin.files
    assert len(server.asked) == 1
    cached(pin)
    assert len(server.asked) == 1


FETCH = """
import json, sys
from pathlib import Path
from tfhub_blocks.compute.encoders.encoder_loading import pinned_saved_model
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import read_pin
try:
    print(pinned_saved_model(read_pin(Path(sys.argv[1])), Path(), "step"))
except BlocksError as error:
    print(error)
"""


def fetch_in_process(pin: Pin, folder: Path, cache: Path, prefix=(), limit=None) -> str:
    from tfhub_blocks.records.pins.pins import Decisions

    replace(pin, decisions=Decisions("downloaded")).write(folder / "encoder.toml")
    done = subprocess.run(
        [*prefix, sys.executable, "-c", FETCH, str(folder / "encoder.toml")],
        env=os.environ | {"TFHUB_BLOCKS_CACHE": str(cache)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_full_disk_is_told(pin, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    told = fetch_in_process(pin, tmp_path, tmp_path / "full", limit=limit)
    assert told == (
        f"[{pin.handle} > cache {tmp_path}/full] the cache cannot be written: File too large. "
        "Expected a writable folder with room for two copies of the encoder. Free some space, or "
        "set TFHUB_BLOCKS_CACHE to another folder."
    )
    assert not (tmp_path / "full" / pin.digest).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root may mount. Run this test as root")
def test_a_small_and_a_read_only_disk_are_told(pin, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", small]).returncode:
        pytest.skip("Mounting is forbidden. Run this test where root may mount (CAP_SYS_ADMIN)")
    try:
        told = fetch_in_process(pin, tmp_path, small)
        assert f"[{pin.handle} > cache {small}] the cache cannot be written: No space left" in told
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        told = fetch_in_process(pin, tmp_path, small)
        assert f"[step > cache {small}] the cache cannot be written: Read-only file system" in told
    finally:
        subprocess.run(["umount", small], check=True)


# Other sources.


def test_a_model_of_mlflow_is_fetched(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    (model / "data" / "model").mkdir(parents=True)
    (model / "data" / "model" / "saved_model.pb").write_bytes(b"graph")
    (model / "MLmodel").write_text("flavors: {}\n")
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(model), "encoder")
        client = mlflow.MlflowClient()
        client.create_registered_model("lite0")
        client.create_model_version("lite0", f"{run.info.artifact_uri}/encoder", run.info.run_id)
    for number, handle in enumerate(["models:/lite0/1", f"runs:/{run.info.run_id}/encoder"]):
        found = fetched(handle, tmp_path / f"fetched-{number}")
        assert contents(found) == {"saved_model.pb": b"graph"}
    assert "models:/lite0/2] the download failed (" in refused("models:/lite0/2", tmp_path / "a")


def test_an_asset_of_azure_is_for_the_command_line(tmp_path):
    told = refused("azureml:lite0:3", tmp_path / "a")
    assert "a step cannot fetch a model asset. Expected the asset at port source" in told


def test_a_model_of_kaggle_is_fetched_by_kagglehub(tmp_path, monkeypatch):
    """The real library, against a server on loopback that speaks the two calls that it makes."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from kagglesdk import kaggle_env

    files = {"saved_model.pb": b"graph", "variables/v": b"values"}
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # http.server's name
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path.rpartition("/")[2], body))
            if body.get("versionNumber") != 2:
                return self.answer(404, b"{}")
            if self.path.endswith("ListModelInstanceVersionFiles"):
                listed = [{"name": name, "size": len(c)} for name, c in files.items()]
                return self.answer(200, json.dumps({"files": listed}).encode())
            return self.answer(200, files[body["path"]])

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoints = dict.fromkeys(kaggle_env.KaggleEnv, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(kaggle_env, "_env_to_endpoint", endpoints)
    handle = "kagglehub:google/efficientnet/tensorFlow2/lite0"
    try:
        assert contents(fetched(f"{handle}/2", tmp_path / "a")).items() >= files.items()
        assert f"{handle}/9] the download failed (" in refused(f"{handle}/9", tmp_path / "b")
    finally:
        server.shutdown()
        server.server_close()
