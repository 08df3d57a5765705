"""A registered model is promoted by somebody who did not make it, and only if everything holds.

UPDATE_GOLDENS=1 renews what is told.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from chain_tampering import edit_json, forge
from toy_chain import Chain

from tfhub_blocks.records.evidence import Threshold, read_evidence
from tfhub_blocks.records.promotions import read_promotion

TEAM = """
format_version = 1
description = "x"
engine = "azureml"
encoder_policy = "experiment"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 60
"""
BECAUSE = "It holds in the field trial"


class Promoting(Chain):
    """The chain that ada made, with a workspace and profiles; bob promotes."""

    def promote(self, *words, what="toy:2", to="team", reason=BECAUSE):
        return self.main("promote", what, "--to", to, "--reason", reason, *words, anew=False)

    def told(self, outcome):
        text = (outcome.out + outcome.err).replace("72f988bf-0000-4000-8000-000000000002", "OBJECT")
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", self.normal(text))
        return re.sub(r"promotion-[0-9a-f]{12}|\b[0-9a-f]{40}\b", "promotion-DIGEST", text)

    def refused(self, condition, *words, **what):
        """What is told where one condition is not met; nothing is sent."""
        outcome = self.promote("--json", *words, **what)
        assert outcome.status == 1, outcome.out + outcome.err
        found = {it["condition"]: it["problems"] for it in outcome.record["conditions"]}
        assert [name for name, problems in found.items() if problems] == [condition]
        assert self.nothing_is_sent()
        return " ".join(problem["problem"] for problem in found[condition])

    def nothing_is_sent(self):
        return {r.method for r in self.plane.recorder.requests} <= {"GET"}

    def edit(self, name, old, new):
        text = self.read(name)
        assert old in text
        self.write(name, text.replace(old, new))

    def profile(self, old, new):
        """Edit the profile."""
        self.edit("pipelines/profiles/team.toml", old, new)

    def tag(self, name, value, version=2):
        """Give a registered version another tag, as who can write to the registry may."""
        with sqlite3.connect(self.folder / ".runs/mlflow.db") as database:
            words = (value, f"tfhub_blocks.{name}", version)
            changed = database.execute(
                "UPDATE model_version_tags SET value = ? WHERE key = ? AND version = ?", words
            )
        assert changed.rowcount == 1

    @property
    def decisions(self):
        return sorted(self.folder.glob(".runs/mlflow/*/*/artifacts/model.promotion-*.json"))

    def models(self):
        return self.plane.workspace.versions("models")

    def git(self, *words):
        subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True)


def be(monkeypatch, folder, name):
    """Let the person at the keyboard be of this name, to the machine and to git."""
    settings = folder.parent / "gitconfig"
    settings.write_text(f"[user]\nname = {name}\nemail = {name}@example.org\n")
    monkeypatch.setenv("LOGNAME", name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def promoting(chain, azure, monkeypatch):
    azure.write_config(chain.folder)
    azure.identity.person = "bob@example.org"
    be(monkeypatch, chain.folder, "bob")
    made = Promoting(chain.folder, chain.capture)
    made.plane = azure
    made.write("pipelines/profiles/team.toml", TEAM)
    return made


def test_model_is_promoted_with_its_decision(promoting, azure, golden):
    outcome = promoting.promote()
    assert outcome.status == 0, outcome.out + outcome.err
    golden("promote", promoting.told(outcome))
    [path] = promoting.decisions
    decision = read_promotion(path, "")
    [model] = promoting.models()
    tags = model["properties"]["tags"]
    assert model["name"] == decision.model_digest[:12]
    assert tags["tfhub_blocks.promoted.team"] == decision.digest
    assert tags["tfhub_blocks.digest"] == tags["tfhub_blocks.model_digest"]
    assert tags["tfhub_blocks.promoted_because.team"] == BECAUSE
    assert tags["tfhub_blocks.owner"] == "ada"
    assert "bob@example.org" in decision.promoters
    assert decision.authors == ("ada",)
    [data] = azure.workspace.versions("data")
    assert tags["tfhub_blocks.promotion.team"] == f"toy-promotion:{data['name']}"
    azure.storage.download(data["properties"]["dataUri"], promoting.folder / "back")
    assert (promoting.folder / "back/promotion.json").read_bytes() == path.read_bytes()
    evidence = promoting.output("measured", "evidence").read_bytes()
    assert (promoting.folder / "back/evidence.json").read_bytes() == evidence
    assert promoting.kinds("toy:2") == set()


def test_promoting_again_makes_nothing_twice(promoting, azure, golden, monkeypatch):
    promoting.promote()
    before, decisions = promoting.models(), promoting.decisions
    azure.recorder.clear()
    for words in ({}, {"reason": "Another one"}):
        outcome = promoting.promote(**words)
        assert outcome.status == 0, outcome.err
    golden("promote_again", promoting.told(outcome))
    assert promoting.nothing_is_sent()
    assert (promoting.models(), promoting.decisions) == (before, decisions)
    # Also where the decision was not kept: somebody else's machine.
    decisions[0].unlink()
    assert promoting.verify("toy:2").status == 1
    assert promoting.promote(reason="Another one").status == 1


def test_dry_run_says_what_would_happen_and_writes_nothing(promoting, golden):
    outcome = promoting.promote("--dry-run")
    assert outcome.status == 0
    golden("promote_dry_run", promoting.told(outcome))
    assert promoting.nothing_is_sent()
    assert promoting.decisions == []
    assert not (promoting.folder / ".runs/intents").exists()


def test_who_made_it_cannot_promote_it(promoting, azure, monkeypatch, golden):
    be(monkeypatch, promoting.folder, "ada")
    azure.identity.person = "Ada@Example.org"
    outcome = promoting.promote()
    assert outcome.status == 1
    golden("promote_one_person", promoting.told(outcome))
    assert promoting.nothing_is_sent()
    assert promoting.decisions == []


@pytest.mark.parametrize(
    ("login", "email", "person"),
    [
        ("ada", "bob@example.org", "bob@example.org"),
        ("bob", "ada@home.example", "bob@example.org"),
        ("bob", "12+ada@users.noreply.github.com", "bob@example.org"),
        ("bob", "bob@example.org", "ada@example.org"),
        ("bob", "ada+work@example.org", ""),
    ],
)
def test_author_is_known_by_any_name(promoting, azure, monkeypatch, login, email, person):
    monkeypatch.setenv("LOGNAME", login)
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text(f"[user]\nemail = {email}\n")
    azure.identity.person = person
    assert "who promotes it is who made it" in promoting.refused("two persons")


def test_who_is_named_as_owner_while_another_made_it_decides_nothing(promoting, azure):
    """Neither by making a colleague the owner, nor as that colleague."""
    promoting.tag("owner", "bob")
    assert "bob is bob" in promoting.refused("two persons")


def test_application_is_no_person(promoting, azure, monkeypatch):
    azure.identity.person = ""
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text("")
    assert "is known as" in promoting.refused("two persons")
    # With a name in git it is somebody's doing, such as who approved it in CI.
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text("[user]\nemail = bob@example.org\n")
    assert promoting.promote("--dry-run").status == 0


def test_maker_whom_no_record_names_is_not_taken_for_another(promoting):
    for path in promoting.folder.glob(".runs/runs/toy*/run.json"):
        edit_json(path, lambda record: record.pop("started_by"))
    assert promoting.refused("two persons") == "nothing here tells who made it"


def test_team_of_one_may_say_so_and_the_decision_tells(promoting, azure, monkeypatch):
    be(monkeypatch, promoting.folder, "ada")
    azure.identity.person = "ada@example.org"
    promoting.profile("[roles", "[promotion]\ntwo_persons = false\n[roles")
    outcome = promoting.promote()
    assert outcome.status == 0, outcome.err
    assert "note: profile team asks for one person alone" in outcome.out
    decision = read_promotion(promoting.decisions[0], "")
    assert (decision.two_persons, decision.authors) == (False, ("ada",))


def edited_file(promoting):
    (promoting.output("encoder", "encoder") / "saved_model/saved_model.pb").write_text("other")
    return "chain"


def part_is_gone(promoting):
    shutil.rmtree(promoting.output("snapshot", "snapshot").parent)
    return None


def better_evidence(promoting):
    """That of the other model, by a tag and by its place."""
    other = read_evidence(promoting.output("measured", "evidence", run=1), "")
    promoting.tag("evidence_digest", other.as_statement()["digest"], version=1)
    return None


def edited_evidence(promoting):
    proof = promoting.output("measured", "evidence")
    edit_json(proof, lambda s: s["predicate"]["metrics"]["accuracy"].update(value=0.99))
    forge(proof)
    return None


def failed_evidence(promoting):
    return rewritten(promoting, (Threshold("min_accuracy", 0.95, 0.9, False),))


def evidence_that_says_it_passed(promoting):
    """Written anew, with a digest over itself, and named in the registry."""
    return rewritten(promoting, (Threshold("min_accuracy", 0.95, 0.9, True),))


def evidence_of_nothing(promoting):
    return rewritten(promoting, ())


def rewritten(promoting, thresholds):
    proof = promoting.output("measured", "evidence")
    written = replace(read_evidence(proof, ""), thresholds=thresholds)
    written.write(proof)
    forge(proof)
    promoting.tag("evidence_digest", written.as_statement()["digest"])
    return "evidence"


def evidence_by_hand(promoting):
    """Sound, about the model, and no step wrote it: dropped among what was fetched."""
    proof = promoting.output("measured", "evidence")
    written = replace(read_evidence(proof, ""), metrics={"accuracy": {"value": 1.0}})
    fetched = promoting.folder / ".runs/downloads/job/evidence"
    fetched.parent.mkdir(parents=True)
    written.write(fetched)
    promoting.tag("evidence_digest", written.as_statement()["digest"])
    return "evidence"


def nobody_owns_it(promoting):
    promoting.tag("owner", " ")
    return "owner"


def undecided_encoder(promoting):
    promoting.profile('encoder_policy = "experiment"', 'encoder_policy = "production"')
    return "encoder"


def no_release(promoting):
    """A profile that takes locks, at a clean commit."""
    promoting.profile('encoder_policy = "experiment"', LOCKS)
    return None


def profile_from_elsewhere(promoting):
    (promoting.folder / "pipelines/profiles/team.toml").rename(promoting.folder / "team.toml")
    (promoting.folder / "pipelines/profiles/team.toml").symlink_to("../../team.toml")
    return "profile"


def edited_profile(promoting):
    promoting.write(".gitignore", "*\n!pipelines/profiles\n!pipelines\n!*.toml\n")
    promoting.git("init", "-q")
    promoting.git("add", "pipelines/profiles")
    promoting.git("commit", "-q", "-m", "reviewed")
    promoting.profile("[roles", "[promotion]\ntwo_persons = false\n[roles")
    return "profile"


def other_workspace(promoting):
    promoting.profile("[roles", '[promotion]\nworkspace = "elsewhere"\n[roles')
    return "profile"


LOCKS = """environment_policy = "refuse"
encoder_policy = "production"
takes = "locks"
"""
WAYS = [
    edited_file,
    part_is_gone,
    better_evidence,
    edited_evidence,
    failed_evidence,
    evidence_that_says_it_passed,
    evidence_of_nothing,
    evidence_by_hand,
    nobody_owns_it,
    undecided_encoder,
    no_release,
    profile_from_elsewhere,
    edited_profile,
    other_workspace,
]


@pytest.mark.parametrize("way", WAYS)
def test_condition_that_is_not_met_is_told_and_nothing_is_sent(promoting, golden, way):
    condition = way(promoting)
    what = "toy:1" if way is better_evidence else "toy:2"
    if condition:
        promoting.refused(condition, what=what)
    outcome = promoting.promote(what=what)
    assert outcome.status == 1, outcome.out
    assert promoting.nothing_is_sent()
    assert promoting.decisions == []
    golden(f"promote_{way.__name__}", promoting.told(outcome))
