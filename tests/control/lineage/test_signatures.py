"""Statements that are signed with a key, checked by an unmodified library and by hand."""

import base64
import json
import shutil
import subprocess

import pytest
from chain_tampering import edit_json, forge
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from signing_keys import write_keys

from tfhub_blocks.records.base.lineage import STATEMENT_NAME


@pytest.fixture
def signed(chain):
    write_keys(chain.folder, ed25519.Ed25519PrivateKey.generate())
    outcome = chain.main("sign", "toy:2", "--key", "key.pem", anew=False)
    assert outcome.status == 0, outcome.err
    return chain


def signature_faults(chain, key="key.pub"):
    outcome = chain.verify("toy:2", "--key", key)
    faults = json.loads(outcome.out)["faults"]
    assert outcome.status == (1 if faults else 0)
    return {fault["found"] for fault in faults if fault["kind"] == "signature"}


def test_signed_chain_holds_with_its_key_and_without(signed):
    assert signature_faults(signed) == set()
    assert signed.kinds("toy:2") == set()
    assert signed.kinds() == set()


def test_chain_that_was_not_signed_does_not_hold_with_a_key(chain):
    write_keys(chain.folder, ed25519.Ed25519PrivateKey.generate())
    assert signature_faults(chain) == {"the statement is not signed"}


def test_another_key_did_not_sign(signed):
    write_keys(signed.folder, ed25519.Ed25519PrivateKey.generate(), "other")
    assert signature_faults(signed, "other.pub") == {"the statement is signed by another key"}


def test_key_of_the_name_of_another_did_not_sign(signed):
    """An envelope may say that any key signed it."""
    write_keys(signed.folder, ed25519.Ed25519PrivateKey.generate(), "other")
    for path in signed.folder.glob(".runs/**/*.dsse.json"):
        edit_json(path, lambda envelope: envelope["signatures"][0].pop("keyid"))
    assert signature_faults(signed) == set()
    assert signature_faults(signed, "other.pub") == {"the signature is not valid for this key"}


def test_edit_is_found_where_every_other_record_was_forged(signed):
    """What nothing else tells: a statement that no later one names, and the registry."""
    report = signed.output("measured", "report")
    edit_json(
        report / STATEMENT_NAME,
        lambda s: s["predicate"]["runDetails"]["metadata"].update(startedOn="2030-01-01T00:00:00Z"),
    )
    forge(report)
    assert signed.kinds("toy:2") == set()
    assert signature_faults(signed) == {"the signature is of another statement"}


def test_edited_signature_and_payload_are_found(signed):
    paths = sorted(signed.folder.glob(".runs/**/*.dsse.json"))

    def forge_payload(envelope):
        payload = base64.b64decode(envelope["payload"]).replace(b"2", b"3", 1)
        envelope["payload"] = base64.b64encode(payload).decode()

    edit_json(paths[0], forge_payload)
    edit_json(paths[1], lambda envelope: envelope["signatures"][0].update(sig="AAAA"))
    paths[2].write_text("{")
    found = signature_faults(signed)
    assert {
        "the signature is of another statement",
        "the signature is not valid for this key",
    } < found
    assert any("cannot be read" in problem for problem in found)


def test_p_256_signs_as_well(chain):
    write_keys(chain.folder, ec.generate_private_key(ec.SECP256R1()))
    assert chain.main("sign", "toy:2", "--key", "key.pem", anew=False).status == 0
    assert signature_faults(chain) == set()
    write_keys(chain.folder, ec.generate_private_key(ec.SECP256R1()), "other")
    assert signature_faults(chain, "other.pub") == {"the statement is signed by another key"}


def test_what_is_signed_is_what_dsse_says(signed):
    envelope = json.loads(next(signed.folder.glob(".runs/store/*/snapshot.dsse.json")).read_text())
    payload = base64.b64decode(envelope["payload"])
    assert payload == (signed.output("snapshot", "snapshot") / STATEMENT_NAME).read_bytes()
    kind = envelope["payloadType"]
    encoded = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    public = serialization.load_pem_public_key((signed.folder / "key.pub").read_bytes())
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), encoded)


@pytest.mark.skipif(
    shutil.which("openssl") is None,
    reason="openssl is not installed. Install it (on Debian: apt-get install openssl)",
)
def test_keys_of_openssl_are_taken(chain):
    for words in (
        ["genpkey", "-algorithm", "ed25519", "-out", "key.pem"],
        ["pkey", "-in", "key.pem", "-pubout", "-out", "key.pub"],
    ):
        subprocess.run(["openssl", *words], cwd=chain.folder, check=True, capture_output=True)
    assert chain.main("sign", "toy:2", "--key", "key.pem", anew=False).status == 0
    assert signature_faults(chain) == set()


def test_chain_that_does_not_hold_is_not_signed(chain, golden):
    write_keys(chain.folder, ed25519.Ed25519PrivateKey.generate())
    (chain.output("snapshot", "snapshot") / "manifest.json").unlink()
    outcome = chain.main("sign", "toy:2", "--key", "key.pem", anew=False)
    assert outcome.status == 2
    assert not list(chain.folder.glob(".runs/**/*.dsse.json"))
    golden("error_sign_tampered", chain.normal(outcome.err))


def test_part_that_is_not_here_keeps_a_chain_from_being_signed(chain):
    write_keys(chain.folder, ed25519.Ed25519PrivateKey.generate())
    shutil.rmtree(chain.output("snapshot", "snapshot").parent)
    assert chain.main("sign", "toy:2", "--key", "key.pem", anew=False).status == 2


def test_key_of_another_kind_is_refused(chain, golden):
    write_keys(chain.folder, rsa.generate_private_key(65537, 2048))
    outcome = chain.main("sign", "toy:2", "--key", "key.pem", anew=False)
    assert outcome.status == 2
    golden("error_sign_key", chain.normal(outcome.err))
    assert chain.main("verify", "toy:2", "--key", "key.pub", anew=False).status == 2
    assert chain.main("verify", "toy:2", "--key", "nothing.pub", anew=False).status == 2
