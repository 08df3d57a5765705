"""A container registry on loopback that speaks the Docker Registry HTTP API v2, with tokens."""

import hashlib
import json
import threading
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
TOKEN = "a-token-for-anybody"


class Registry:
    """What it holds (manifest by repository and tag), how it answers, and what it was asked."""

    def __init__(self):
        self.manifests = {}
        self.asks_for_token = True
        self.states_digest = True
        self.realm = None
        self.digest = None
        self.asked = []
        self.host = ""

    def put(self, repository, tag, content=b"{}"):
        self.manifests[repository, tag] = content
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    @property
    def methods(self):
        return [line.split()[0] for line in self.asked]


@contextmanager
def serve_registry():
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # http.server's name
            registry.asked.append(f"{self.command} {self.path}")
            path, _, query = self.path.partition("?")
            if path == "/token":
                return self.answer_token(dict(urllib.parse.parse_qsl(query)))
            _, _, *repository, _, tag = path.split("/")
            name = "/".join(repository)
            if registry.asks_for_token and self.headers["Authorization"] != f"Bearer {TOKEN}":
                realm = registry.realm or f"http://{registry.host}/token"
                challenge = (
                    f'Bearer realm="{realm}",service="registry",scope="repository:{name}:pull"'
                )
                return self.answer(401, b"{}", {"WWW-Authenticate": challenge})
            content = registry.manifests.get((name, tag))
            if content is None or INDEX_TYPE not in self.headers["Accept"]:
                return self.answer(404, b"{}")
            digest = registry.digest or f"sha256:{hashlib.sha256(content).hexdigest()}"
            headers = {"Docker-Content-Digest": digest} if registry.states_digest else {}
            return self.answer(200, content, {"Content-Type": INDEX_TYPE, **headers})

        do_HEAD = do_GET  # noqa: N815

        def answer_token(self, asked):
            fits = asked["service"] == "registry" and asked["scope"].endswith(":pull")
            self.answer(200 if fits else 400, json.dumps({"token": TOKEN}).encode())

        def answer(self, status, content, headers=None):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
