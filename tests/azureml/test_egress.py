import base64
import socket
import ssl

import certifi
import pytest
import requests
from loopback.identity import claims_of, make_token
from toy_project import PATIENCE_S


def test_unknown_host_is_refused_and_kept(azure):
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://example.com/", timeout=PATIENCE_S)
    assert azure.problems() == ["refused: CONNECT example.com:443"]
    assert azure.guard.take_refused() == ["CONNECT example.com:443"]


def test_plain_http_and_other_ports_are_refused(azure):
    assert requests.get("http://management.azure.com/", timeout=PATIENCE_S).status_code == 403
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://management.azure.com:8443/", timeout=PATIENCE_S)
    assert len(azure.guard.take_refused()) == 2


def test_known_host_presents_a_certificate_that_only_our_authority_signed(azure):
    with socket.create_connection(("127.0.0.1", azure.guard.server_port)) as tunnel:
        tunnel.sendall(b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n")
        assert b" 200 " in tunnel.recv(4096)
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context(cafile=certifi.where()).wrap_socket(
                tunnel, server_hostname="management.azure.com"
            )


def test_unknown_request_is_kept(azure):
    token = {"Authorization": f"Bearer {make_token('https://management.azure.com')}"}
    answer = requests.get(
        "https://management.azure.com/nothing?api-version=2023-04-01",
        headers=token,
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 404
    assert len(azure.problems()) == 1
    azure.recorder.clear()


@pytest.mark.parametrize(
    ("authorization", "problem"),
    [
        ("", "the token is for"),
        (f"Bearer {make_token('https://storage.azure.com')}", "the token is for"),
        (f"Bearer {make_token('https://ml.azure.com')}", "the token is for"),
        (f"Bearer {make_token('https://management.azure.com', -60)}", "expired"),
    ],
)
def test_request_needs_a_token_that_is_meant_for_it(azure, authorization, problem):
    address = f"https://management.azure.com{azure.workspace.id}?api-version=2024-04-01"
    headers = {"Authorization": authorization}
    answer = requests.get(address, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 401
    assert problem in answer.json()["error"]["message"]


def test_identity_asks_for_its_secret(azure):
    endpoint = azure.environment()["IDENTITY_ENDPOINT"]
    query = {"resource": "https://ml.azure.com"}
    assert requests.get(endpoint, query, timeout=PATIENCE_S).status_code == 401
    header = {"X-IDENTITY-HEADER": azure.identity.secret}
    token = requests.get(endpoint, query, headers=header, timeout=PATIENCE_S).json()["access_token"]
    assert claims_of(f"Bearer {token}")["aud"] == "https://ml.azure.com"
    assert base64.urlsafe_b64decode(token.split(".")[0] + "==")
