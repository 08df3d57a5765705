"""The program that ``doctor --live`` runs on nodes: it prints facts that only a node knows.

The program imports nothing of tfhub-blocks, so it shows the platform and not the product. Each fact
is one line of the log, ``FACT NAME JSON``. No value of an environment variable is printed.
"""

# decision 87

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

PREFIX = "FACT "
SAVED = "saving"
_SECONDS = 60.0
_NAMES = ("AZUREML_", "MLFLOW_", "TF_CONFIG", "NODE_RANK", "MSI_", "IDENTITY_", "DEFAULT_IDENTITY")


def main(words: list[str]) -> int:
    """Print the facts of one mode: ``facts``, ``save`` or ``nodes``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=list(_MODES), required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--file", type=Path, required=True)
    given = parser.parse_args(words)
    given.folder.mkdir(parents=True, exist_ok=True)
    _MODES[given.mode](given.folder, given.file)
    if not given.file.exists():
        given.file.write_text(given.mode)
    return 0


def tell(name: str, fact: object) -> None:
    """Print a fact, also from a handler of signals: ``print`` fails there during a ``print``."""
    os.write(1, f"{PREFIX}{name} {json.dumps(fact, sort_keys=True)}\n".encode())


def _tried(action: Callable[[], object]) -> object:
    """Return the result of an action, or the name and the text of its error."""
    try:
        return action() or "ok"
    except Exception as error:  # every failure is a fact
        return f"{type(error).__name__}: {str(error)[:200]}"


def _facts(folder: Path, file: Path) -> None:
    tell("probe.mount", _mount(folder))
    tell("probe.uri_file", _uri_file(folder, file))
    tell("probe.environment", sorted(name for name in os.environ if name.startswith(_NAMES)))
    tell("probe.identity", _identity())
    tell("probe.node", _node())
    tell("probe.driver", _tried(_driver))
    tell("probe.mlflow", _mlflow())


def _mount(folder: Path) -> dict[str, object]:
    (folder / "a").write_text("a")
    found: dict[str, object] = {
        "free_bytes": shutil.disk_usage(folder).free,
        "free_bytes_of_temporary_files": shutil.disk_usage(tempfile.gettempdir()).free,
        "kind": _kind(folder),
        "rename": _tried(lambda: (folder / "a").rename(folder / "b") and None),
        "hard_link": _tried(lambda: os.link(folder / "b", folder / "c")),
        "symbolic_link": _tried(lambda: (folder / "d").symlink_to("b")),
        "delete": _tried((folder / "b").unlink),
    }
    for name in ("a", "c", "d"):
        (folder / name).unlink(missing_ok=True)
    return found


def _kind(path: Path) -> str:
    """Return the file system on which a path lies."""
    best = ("", "")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, *_ = line.split()
        if str(path.resolve()).startswith(place) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]


def _uri_file(folder: Path, file: Path) -> dict[str, object]:
    sibling = file.parent / "doctor-sibling"
    found = {
        "parent_exists": file.parent.is_dir(),
        "parent_is_mount": os.path.ismount(file.parent),
        "parent_kind": _kind(file.parent) if file.parent.is_dir() else "",
        "parent_of_folder_is_the_same": file.parent == folder.parent,
        "sibling": _tried(lambda: sibling.write_text("x") and None),
    }
    sibling.unlink(missing_ok=True)
    return found


def _identity() -> dict[str, object]:
    asked = ("AZUREML_RUN_TOKEN", "IDENTITY_ENDPOINT", "MSI_ENDPOINT", "DEFAULT_IDENTITY_CLIENT_ID")
    return {name: name in os.environ for name in asked} | {"user": os.getuid()}


def _node() -> dict[str, object]:
    packages = ("tensorflow", "mlflow-skinny", "azureml-mlflow", "mldesigner")
    found = {name: str(_tried(partial(metadata.version, name))) for name in packages}
    return {"python": platform.python_version(), "cores": os.cpu_count(), "packages": found}


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


def _mlflow() -> dict[str, object]:
    try:
        import mlflow
    except ImportError as error:
        return {"import": str(error)}
    client, name = mlflow.MlflowClient(), f"doctor-probe-{int(time.time())}"
    run = os.environ.get("MLFLOW_RUN_ID", "")
    found = {
        "log_metric": _tried(lambda: client.log_metric(run, "doctor", 1.0)),
        "get_run": _tried(lambda: client.get_run(run).info.status),
        "search_experiments": _tried(lambda: f"{len(client.search_experiments(max_results=5))}"),
        "search_models": _tried(lambda: f"{len(client.search_registered_models(max_results=5))}"),
        "create_model": _tried(lambda: client.create_registered_model(name).name and None),
    }
    found["delete_model"] = _tried(lambda: client.delete_registered_model(name))
    return dict(found)


def _save(folder: Path, _: Path) -> None:
    started = time.monotonic()

    def on_signal(number: int, _: object) -> None:
        after = round(time.monotonic() - started, 1)
        tell("cancel.signal", {"name": signal.Signals(number).name, "after_s": after})

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    for number in range(600):
        (folder / f"part-{number}").write_bytes(b"x" * 1024)
        print(f"{SAVED} {number}", flush=True)
        time.sleep(0.2)


def _nodes(folder: Path, _: Path) -> None:
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    own, other = int(task.get("index", 0)), 1 - int(task.get("index", 0))
    (folder / f"node-{own}").write_text(str(own))
    seen_s = _waited(lambda: (folder / f"node-{other}").exists())
    tell(f"two-nodes.worker-{own}", {"task": task, "sees_the_other_after_s": seen_s})
    if own == 1:
        time.sleep(2)
        (folder / "node-1").unlink()
        (folder / "removed").write_text("1")
    elif seen_s is not None:
        _waited(lambda: (folder / "removed").exists())
        gone_s = _waited(lambda: not (folder / "node-1").exists(), 10.0)
        tell("two-nodes.removal", {"seen_after_s": gone_s})


def _waited(is_so: Callable[[], bool], most_s: float = _SECONDS) -> float | None:
    """Return the seconds until something is so, or None if it never is."""
    started = time.monotonic()
    while not is_so():
        if time.monotonic() - started > most_s:
            return None
        time.sleep(0.2)
    return round(time.monotonic() - started, 1)


_MODES: dict[str, Callable[[Path, Path], None]] = {"facts": _facts, "save": _save, "nodes": _nodes}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
