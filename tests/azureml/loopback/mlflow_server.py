"""A real ``mlflow server``, with a workspace of its own for each of ours."""

import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

_START_TIMEOUT_S = 60.0
_REQUEST_TIMEOUT_S = 60.0


@dataclass
class MlflowServer:
    """MLflow over SQLite, a process that starts when it is first asked (7 s).

    ``spaces`` are MLflow's workspaces that were made: what one holds, no other shows.
    """

    folder: Path
    spaces: set[str] = field(default_factory=set)
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _lock: RLock = field(default_factory=RLock)

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"

    def stop(self) -> None:
        """End it, if it was started."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def open_space(self, name: str, artifact_root: str) -> None:
        """Make an MLflow workspace, unless it is there; the server is up afterwards.

        Raises:
            RuntimeError: It does not start, or does not make it.
        """
        with self._lock:
            if self._process is None:
                self._start()
            if name in self.spaces:
                return
            body = json.dumps({"name": name, "default_artifact_root": artifact_root}).encode()
            status, answer = self.ask("POST", "/api/3.0/mlflow/workspaces", "", body, "default")
            if status not in (200, 201):
                raise RuntimeError(f"MLflow made no workspace: {answer!r}")
            self.spaces.add(name)

    def ask(self, method: str, path: str, query: str, body: bytes, space: str) -> tuple[int, bytes]:
        """MLflow's status and answer to a request in a workspace of it."""
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=_REQUEST_TIMEOUT_S)
        ) as connection:
            headers = {"Content-Type": "application/json", "X-MLFLOW-WORKSPACE": space}
            connection.request(method, f"{path}?{query}" if query else path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def call(self, method: str, tail: str, space: str, **given: Any) -> Any:
        """The answer to a call of MLflow's API as JSON, None if it is an error."""
        body = json.dumps(given).encode()
        status, answer = self.ask(method, f"/api/2.0/mlflow/{tail}", "", body, space)
        return json.loads(answer) if status == 200 else None

    def put_run(self, run: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Write a row of ``runs`` under a name of our own: MLflow's API names runs itself."""
        names = ", ".join(run)
        places = ", ".join(f":{name}" for name in run)
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            connection.execute(
                f"INSERT INTO runs ({names}) VALUES ({places})"  # noqa: S608  # our own names
                " ON CONFLICT (run_uuid) DO UPDATE SET status = excluded.status,"
                " end_time = excluded.end_time",
                dict(run),
            )
            connection.executemany(
                "INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(run["run_uuid"], key, value) for key, value in tags.items()],
            )

    def _start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        log = (self.folder / "log.txt").open("wb")
        # The server itself, not the shell around it, so that `stop` ends all that runs.
        variables = {
            "MLFLOW_ENABLE_WORKSPACES": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--enable-workspaces"]
        self._process = subprocess.Popen(
            [
                *command,
                *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{self.database}"),
                *("--no-serve-artifacts", "--default-artifact-root", "azureml://nowhere"),
            ],
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", "")} | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        limit = time.monotonic() + _START_TIMEOUT_S
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"MLflow did not start: {(self.folder / 'log.txt').read_text()}")
            time.sleep(0.1)

    def _is_up(self) -> bool:
        try:
            return self.ask("GET", "/health", "", b"", "default")[0] == 200
        except OSError:
            return False
