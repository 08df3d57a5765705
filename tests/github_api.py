"""A stand-in of GitHub's API on loopback: pull requests, comments, approvals, identity tokens."""

import base64
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "team/models"
TOKEN = "a-token-of-the-job"
ASSERTION_S = 300


def assertion(subject, now=None):
    """An identity token about a job, as GitHub's, good for five minutes, signed by nobody."""
    now = int(time.time() if now is None else now)
    claims = {
        "iss": "https://token.actions.githubusercontent.com",
        "aud": "api://AzureADTokenExchange",
        "sub": subject,
        "iat": now,
        "exp": now + ASSERTION_S,
    }
    parts = [{"alg": "RS256"}, claims]
    texts = [
        base64.urlsafe_b64encode(json.dumps(it).encode()).rstrip(b"=").decode() for it in parts
    ]
    return ".".join([*texts, "bm9ib2R5"])


def claims_of(token):
    """The claims of a token."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class GitHubApi(ThreadingHTTPServer):
    """The server; ``pulls`` are heads by number, ``comments`` lists by number."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pulls, self.comments, self.reviews, self.approvals = {}, {}, {}, []
        self.proposed, self.hidden, self.asked, self.issued = [], [], [], []
        self.subject = f"repo:{REPOSITORY}:environment:blocks-experiment"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def environment(self):
        """The variables of a job that has a token of the repository."""
        return {
            "GITHUB_API_URL": self.url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_RUN_ID": "77",
        }

    def identity(self):
        """The variables of a job that may ask for identity tokens."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": TOKEN,
        }

    def bodies(self, number):
        return [it["body"] for it in self.comments.get(number, [])]

    def comment(self, number, body, kind="Bot"):
        of = self.comments.setdefault(number, [])
        of.append({"id": 100 * number + len(of), "body": body, "user": {"type": kind}})
        of[-1]["node_id"] = f"IC_{of[-1]['id']}"
        return of[-1]

    def answer(self, method, path, query, body):
        """The status and the record of an answer."""
        base = f"/repos/{REPOSITORY}"
        page = int(query.get("page", ["1"])[0]) - 1
        if path == "/token":
            self.issued.append(assertion(self.subject))
            return (200, {"value": self.issued[-1]}) if query.get("audience") else (400, {})
        if path == "/graphql":
            self.hidden.append(body["variables"]["id"])
            return 200, {"data": {}}
        if found := re.fullmatch(rf"{base}/issues/(\d+)/comments", path):
            number = int(found[1])
            if method == "POST":
                return 201, self.comment(number, body["body"])
            return 200, self.comments.get(number, [])[100 * page : 100 * page + 100]
        if (found := re.fullmatch(rf"{base}/issues/comments/(\d+)", path)) and method == "PATCH":
            for it in (it for of in self.comments.values() for it in of):
                if it["id"] == int(found[1]):
                    it["body"] = body["body"]
            return 200, {}
        if found := re.fullmatch(rf"{base}/pulls/(\d+)/reviews", path):
            return 200, self.reviews.get(int(found[1]), [])[100 * page : 100 * page + 100]
        if found := re.fullmatch(rf"{base}/pulls/(\d+)", path):
            head = self.pulls.get(int(found[1]))
            return (200, {"head": {"sha": head}}) if head else (404, {"message": "Not Found"})
        if path == f"{base}/pulls":
            if method == "POST":
                self.proposed.append(body | {"html_url": f"{self.url}/pull/{len(self.proposed)}"})
                return 201, self.proposed[-1]
            head = query["head"][0].partition(":")[2]
            return 200, [it for it in self.proposed if it["head"] == head]
        if path == f"{base}/actions/runs/77/approvals":
            return 200, self.approvals
        return 404, {"message": "Not Found"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self):
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        self.server.asked.append(f"{self.command} {parts.path}")
        if self.headers.get("Authorization", "").lower() != f"bearer {TOKEN}":
            status, record = 401, {"message": "Bad credentials"}
        else:
            status, record = self.server.answer(
                self.command, parts.path, parse_qs(parts.query), body
            )
        data = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = _serve  # noqa: N815

    def log_message(self, format, *args):
        pass
