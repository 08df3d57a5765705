"""Statements signed with a key in Azure Key Vault by the unmodified client, and checked offline."""

import base64
import hashlib
import json
import re
import sys
import time

import pytest
from azure.core.pipeline.transport import RequestsTransport
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from loopback.certificates import make_certificates
from loopback.egress import EgressGuard
from loopback.identity import IdentityEndpoint
from loopback.key_vault import KeyVaultServer
from toy_project import ToyProject

from tfhub_blocks.records.base.folders import Format, begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Provenance

ADDRESS = "azurekeyvault://team-vault/statements"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls"), ["*.vault.azure.net"])


@pytest.fixture
def vault(certificates, monkeypatch):
    """An empty vault, to which alone the variables of this process lead."""
    server, identity = KeyVaultServer(certificates), IdentityEndpoint()
    guard = EgressGuard({"*.vault.azure.net": server.server_port})
    variables = {
        "HTTPS_PROXY": guard.url,
        "NO_PROXY": "localhost,127.0.0.1",
        "REQUESTS_CA_BUNDLE": str(certificates.authority),
        **identity.environment(),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield server.vault
    for each in (guard, server, identity):
        each.shutdown()
        each.server_close()
    assert guard.refused == []


@pytest.fixture
def project(tmp_path, monkeypatch, capfd):
    """A folder with one finished output, made/it."""
    monkeypatch.chdir(tmp_path)
    made = Provenance("make", {"count": 1}, (), "0" * 64, "0" * 64, "then", "later")
    (begin_folder(tmp_path / "made/it", made) / "file").write_text("content")
    finish_folder(tmp_path / "made/it", "made", Format("made", 1), made)
    return ToyProject(tmp_path, capfd)


def sign(project, address=ADDRESS, *more):
    return project.main("sign", "made/it", "--key", address, *more, anew=False)


def verify(project, key):
    outcome = project.main("verify", "made/it", "--key", key, "--json", anew=False)
    faults = {fault["found"] for fault in json.loads(outcome.out)["faults"]}
    assert outcome.status == (1 if faults else 0)
    return faults


def normal(text):
    return re.sub(r"[0-9a-f]{32}", "VERSION", text)


def test_statement_is_signed_in_the_vault_and_checked_offline(vault, project, monkeypatch):
    version = vault.put("statements", ec.generate_private_key(ec.SECP256R1()))
    outcome = sign(project, ADDRESS, "--public", "vault.pub")
    assert outcome.status == 0, outcome.err
    asked = [line for line in vault.asked if line.startswith("POST")]
    assert asked[-1] == f"POST /keys/statements/{version}/sign"
    # Nothing leads anywhere any more, and checking needs nothing.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    before = len(vault.asked)
    assert verify(project, "vault.pub") == set()
    assert len(vault.asked) == before


def test_only_a_digest_of_what_dsse_says_leaves_this_machine(vault, project):
    private = ec.generate_private_key(ec.SECP256R1())
    vault.put("statements", private)
    assert sign(project, ADDRESS, "--public", "vault.pub").status == 0
    envelope = json.loads(project.read("made/it.dsse.json"))
    payload = base64.b64decode(envelope["payload"])
    assert payload == (project.folder / "made/it" / STATEMENT_NAME).read_bytes()
    kind = envelope["payloadType"]
    encoded = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    assert vault.signed == [hashlib.sha256(encoded).digest()]
    public = serialization.load_pem_public_key((project.folder / "vault.pub").read_bytes())
    assert public.public_numbers() == private.public_key().public_numbers()


def test_version_that_is_named_signs_else_the_newest(vault, project):
    old = vault.put("statements", ec.generate_private_key(ec.SECP256R1()))
    vault.put("statements", ec.generate_private_key(ec.SECP256R1()))
    assert sign(project, f"{ADDRESS}/{old}", "--public", "old.pub").status == 0
    assert verify(project, "old.pub") == set()
    assert sign(project, ADDRESS, "--public", "new.pub").status == 0
    assert verify(project, "new.pub") == set()
    assert verify(project, "old.pub") == {"the statement is signed by another key"}


def test_edited_statement_is_found(vault, project):
    vault.put("statements", ec.generate_private_key(ec.SECP256R1()))
    assert sign(project, ADDRESS, "--public", "vault.pub").status == 0
    path = project.folder / "made/it" / STATEMENT_NAME
    path.write_text(path.read_text().replace("then", "never"))
    assert verify(project, "vault.pub") == {"the signature is of another statement"}


def test_vault_that_signs_with_another_key_is_not_believed(vault, project):
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    vault.put("statements", keys[0], answers_with=keys[1])
    outcome = sign(project)
    assert outcome.status == 2
    assert "the vault returned no valid signature of the key's public half" in outcome.err
    assert not (project.folder / "made/it.dsse.json").exists()


@pytest.mark.parametrize(
    ("name", "make", "options"),
    [
        ("rsa", lambda: rsa.generate_private_key(65537, 2048), {}),
        ("p384", lambda: ec.generate_private_key(ec.SECP384R1()), {}),
        ("disabled", lambda: ec.generate_private_key(ec.SECP256R1()), {"enabled": False}),
        ("forbidden", lambda: ec.generate_private_key(ec.SECP256R1()), {"may_sign": False}),
        ("unknown", None, {}),
    ],
)
def test_key_that_cannot_sign_is_told(name, make, options, vault, project, golden):
    if make:
        vault.put("statements", make(), **options)
    outcome = sign(project)
    assert outcome.status == 2
    assert not (project.folder / "made/it.dsse.json").exists()
    golden(f"error_vault_{name}", normal(outcome.err))


@pytest.mark.parametrize("address", ["azurekeyvault://vault", "azurekeyvault://v/k/x/y"])
def test_what_is_no_address_of_a_key_is_told(address, project):
    outcome = sign(project, address)
    assert outcome.status == 2
    assert f"[key > {address}] the text is not the address of a key" in outcome.err


def test_client_that_is_not_installed_is_told(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.keyvault.keys", None)
    outcome = sign(project)
    assert outcome.status == 2
    assert "pip install azure-keyvault-keys" in outcome.err


def test_vault_that_does_not_answer_is_told(vault, project, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    sleep = time.sleep
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _, s: sleep(min(s, 0.05)))
    outcome = sign(project)
    assert outcome.status == 2
    assert "the vault cannot be used" in outcome.err


def test_public_key_of_a_local_one_is_written_as_well(project):
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (project.folder / "key.pem").write_bytes(pem)
    assert sign(project, "key.pem", "--public", "key.pub").status == 0
    assert verify(project, "key.pub") == set()
