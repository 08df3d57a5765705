"""Microsoft Entra ID on loopback, as far as a federated credential asks for tokens there."""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from github_api import claims_of

CLIENT, TENANT = "0f0f0f0f-0000-4000-8000-00000000000c", "0f0f0f0f-0000-4000-8000-00000000000d"


class Entra(ThreadingHTTPServer):
    """The token endpoint: an assertion must be of the trusted subject, and not too old.

    ``granted`` holds when each token was given, and ``refused`` why one was not.
    """

    daemon_threads = True

    def __init__(self, identity, certificates, subject, lifetime_s=600):
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.identity, self.subject, self.lifetime_s = identity, subject, lifetime_s
        self.granted, self.refused = [], []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def environment(self):
        return {
            "AZURE_AUTHORITY_HOST": f"https://localhost:{self.server_port}",
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_TENANT_ID": TENANT,
        }

    def problem(self, form):
        """Why Entra gives no token for a request; an empty text if it does."""
        if form.get("client_id") != CLIENT or "client_secret" in form:
            return "AADSTS700016: no such application"
        claims = claims_of(form["client_assertion"])
        if claims["sub"] != self.subject:
            return f"AADSTS70021: no matching federated identity record for {claims['sub']}"
        if claims["aud"] != "api://AzureADTokenExchange":
            return "AADSTS700212: no matching audience"
        if not claims["iat"] <= time.time() < claims["exp"]:
            return "AADSTS700024: client assertion is not within its valid time range"
        return ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        form = {key: of[0] for key, of in parse_qs(self.rfile.read(length).decode()).items()}
        server = self.server
        if problem := server.problem(form):
            server.refused.append(problem)
            status, record = 401, {"error": "invalid_client", "error_description": problem}
        else:
            server.granted.append(time.time())
            audience = form["scope"].removesuffix("/.default").rstrip("/")
            token = server.identity.issue(audience, server.lifetime_s)
            status = 200
            record = {
                "access_token": token,
                "expires_in": server.lifetime_s,
                "token_type": "Bearer",
            }
        data = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        pass
