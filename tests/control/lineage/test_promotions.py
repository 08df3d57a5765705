"""Decisions beside a registered model: checked, drawn, told and signed."""

import json
import shutil
from dataclasses import replace

import pytest
from chain_tampering import edit_json
from cryptography.hazmat.primitives.asymmetric import ed25519
from signing_keys import write_keys
from toy_chain import decision

from tfhub_blocks.control.lineage.local_registrations import find_registration
from tfhub_blocks.control.lineage.promotion_statements import keep_promotion, promotion_path
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.promotions import read_promotion


@pytest.fixture
def promoted(chain):
    chain.path = keep_promotion(*decision(chain.folder), chain.folder / ".runs")
    return chain


def rewrite(path, **parts):
    """Another decision, sound in itself, in place of one."""
    written = replace(read_promotion(path, ""), **parts)
    path.write_text(written.as_text())
    return written


def faults(chain, what="toy:2"):
    found = json.loads(chain.verify(what).out)["faults"]
    assert {fault["kind"] for fault in found} <= {"promotion"}
    return " ".join(fault["found"] for fault in found)


def test_chain_with_a_decision_holds(promoted):
    assert promoted.kinds("toy:2") == set()
    assert promoted.kinds() == set()
    assert keep_promotion(*decision(promoted.folder), promoted.folder / ".runs") == promoted.path


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["predicate"]["decision"].update(reason="Other"),
        lambda s: s["predicate"]["decision"].update(promoters=["carol"]),
        lambda s: s["predicate"].update(more="x"),
        lambda s: s.pop("subject"),
        lambda s: s.update(predicateType="x"),
    ],
)
def test_edited_decision_is_found(promoted, change):
    edit_json(promoted.path, change)
    assert "is not a valid promotion" in faults(promoted)
    with pytest.raises(BlocksError, match="is not a valid promotion"):
        read_promotion(promoted.path, "test")


def test_decision_written_anew_in_its_place_is_found(promoted):
    rewrite(promoted.path, reason="Other")
    assert faults(promoted) == "the name of another promotion"


def test_planted_decision_is_found_by_the_registry(promoted):
    planted = replace(read_promotion(promoted.path, ""), promoters=("carol",))
    promotion_path(promoted.path.with_name("model"), planted.digest).write_text(planted.as_text())
    assert faults(promoted) == "no tag: not recorded locally"


def test_lost_decision_is_a_part_that_is_not_here(promoted):
    promoted.path.unlink()
    outcome = promoted.verify("toy:2")
    assert outcome.status == 1
    assert [gap["kind"] for gap in json.loads(outcome.out)["gaps"]] == ["promotion"]


def test_decision_about_another_model_is_found(promoted):
    runs = promoted.folder / ".runs"
    other = find_registration(runs, "toy:1", "test").source
    shutil.copy(promoted.path, other.parent)
    assert "no tag: not recorded locally" in faults(promoted, "toy:1")
    _, about_two = decision(promoted.folder)
    version, _ = decision(promoted.folder, "toy:1")
    keep_promotion(version, about_two, runs)
    assert f"model {about_two.model_digest}" in faults(promoted, "toy:1")


def test_decision_on_other_evidence_is_found(chain):
    _, other = decision(chain.folder, "toy:1")
    version, made = decision(chain.folder, evidence=other.evidence)
    keep_promotion(version, made, chain.folder / ".runs")
    assert f"evidence about {other.model_digest}, passed: True" in faults(chain)


def test_decision_is_drawn_and_stands_in_the_card(promoted, golden):
    drawn = promoted.main("lineage", "toy:2", anew=False).out
    head = "\n".join(drawn.splitlines()[:8]) + "\n"
    golden("lineage_promoted", promoted.normal(head))
    assert promoted.main("card", "toy:2", "--to", "card", anew=False).status == 0
    card = promoted.read("card/card.md")
    golden(
        "card_promotions", promoted.normal(card.partition("## Promotions")[2].partition("##")[0])
    )
    promoted.path.unlink()
    assert "Promotions" not in promoted.main("lineage", "toy:2", anew=False).out


def test_decision_is_signed_with_the_chain_or_by_who_took_it(promoted):
    for name in ("key", "other"):
        write_keys(promoted.folder, ed25519.Ed25519PrivateKey.generate(), name)
    outcome = promoted.main("sign", "toy:2", "--key", "key.pem", anew=False)
    assert outcome.status == 0
    envelope = promoted.path.with_name(f"{promoted.path.name}.dsse.json")
    assert str(envelope.relative_to(promoted.folder)) in outcome.out
    assert promoted.verify("toy:2", "--key", "key.pub").status == 0
    # One that was taken after the chain was signed is told of, and needs another's key.
    kept = envelope.read_bytes()
    envelope.unlink()
    outcome = promoted.verify("toy:2", "--key", "key.pub")
    assert outcome.status == 0
    assert "the statement is not signed" in " ".join(json.loads(outcome.out)["notes"])
    # Signed, written anew and named in the registry: only the key tells.
    old = read_promotion(promoted.path, "")
    promoted.path.unlink()
    made = replace(old, promoters=("carol",))
    version, _ = decision(promoted.folder)
    path = keep_promotion(version, made, promoted.folder / ".runs")
    path.with_name(f"{path.name}.dsse.json").write_bytes(kept)
    found = json.loads(promoted.verify("toy:2", "--key", "key.pub").out)["faults"]
    assert [fault["found"] for fault in found] == ["the signature is of another statement"]
