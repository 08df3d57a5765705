"""A process that serves a deployment, from nothing but what the workspace stores for it.

It runs the deployment's own program, `init()` and `run()`, where Azure ML's server would: with the
model below ``AZUREML_MODEL_DIR``.
"""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from loopback.control_plane import ControlPlane

SERVER = """
import json, runpy, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

entry = runpy.run_path(sys.argv[1])
entry["init"]()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer = entry["run"](body)
        self.send_response(400 if "error" in answer else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
"""


class DeploymentProcess:
    """The process of one deployment; calling it with a body gives status and JSON."""

    def __init__(self, azure: ControlPlane, endpoint: str, name: str, folder: Path) -> None:
        it = azure.workspace.find(f"onlineEndpoints/{endpoint}/deployments/{name}")["properties"]
        code = azure.workspace.find_by_id(it["codeConfiguration"]["codeId"])["properties"]
        model = azure.workspace.find_by_id(it["model"])["properties"]
        azure.storage.download(code["codeUri"], folder / "code")
        azure.storage.download(model["modelUri"], folder / "model" / "given")
        script = folder / "code" / it["codeConfiguration"]["scoringScript"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(script)],
            cwd=folder / "code",
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(folder / "code"),
                "AZUREML_MODEL_DIR": str(folder / "model"),
                **it["environmentVariables"],
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        words: list[str] = []
        while words[:1] != ["port"]:
            line = self.process.stdout.readline()
            assert line, f"the program of {name} ended"
            words = line.split()
        self.port = int(words[1])

    def __call__(self, body: bytes) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/score", body)
            answer = connection.getresponse()
            return answer.status, json.load(answer)
        except OSError:
            return 502, {"error": "the process is gone"}
        finally:
            connection.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
