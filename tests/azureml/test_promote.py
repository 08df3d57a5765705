"""A registered model is promoted by somebody who did not make it, and only if everything holds.

UPDATE_GOLDENS=1 renews what is told.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from azure.ai.ml.entities import Model
from chain_tampering import edit_json, forge
from loopback.identity import object_of
from loopback.requests import Fault
from toy_chain import Chain
from toy_project import wait_for

from tfhub_blocks.control.lineage.local_registrations import find_registration
from tfhub_blocks.control.workspace.intents import intent
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats.champion_comparison import ChampionComparison
from tfhub_blocks.records.formats.evidence import Threshold, read_evidence
from tfhub_blocks.records.formats.promotions import read_promotion
from tfhub_blocks.records.formats.releases import (
    LockedComponent,
    LockedEvidence,
    LockedStep,
    ReleaseLock,
    write_lock,
)
from tfhub_blocks.records.pins.pins import PIN_NAME

TEAM = """
format_version = 1
description = "x"
engine = "azureml"
encoder_policy = "experiment"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 60
"""
# The request with which the model is there; those before bring its decision and its files.
LAST = 13
BECAUSE = "It holds in the field trial"


class Promoting(Chain):
    """The chain that ada made, with a workspace and profiles; bob promotes."""

    def promote(self, *words, what="toy:2", to="team", reason=BECAUSE):
        return self.main("promote", what, "--to", to, "--reason", reason, *words, anew=False)

    def told(self, outcome):
        person = object_of(self.plane.identity.person)
        text = (outcome.out + outcome.err).replace(person, "OBJECT")
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", self.normal(text))
        text = re.sub(r"withdrawn on \d{4}-\d\d-\d\d", "withdrawn on DAY", text)
        return re.sub(r"promotion-[0-9a-f]{12}|\b[0-9a-f]{40}\b", "promotion-DIGEST", text)

    def refused(self, condition, *words, also=(), **what):
        """What is told where one condition, and others beside it, are not met; nothing is sent."""
        outcome = self.promote("--json", *words, **what)
        assert outcome.status == 1, outcome.out + outcome.err
        found = {it["condition"]: it["problems"] for it in outcome.record["conditions"]}
        assert [name for name, problems in found.items() if problems] == [*also, condition]
        assert self.nothing_is_sent()
        return " ".join(problem["problem"] for problem in found[condition])

    def nothing_is_sent(self):
        asked = (r for r in self.plane.recorder.requests if not r.path.endswith("/listSecrets"))
        return {r.method for r in asked} <= {"GET", "HEAD"}

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
def promoting(azure, chain, monkeypatch):
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
    assert "the promoter built the model" in promoting.refused("two persons")


def test_who_is_named_as_owner_while_another_made_it_decides_nothing(promoting, azure):
    """Neither by making a colleague the owner, nor as that colleague."""
    promoting.tag("owner", "bob")
    # The chain names the edited tag too.
    assert "bob is bob" in promoting.refused("two persons", also=["chain"])


def test_application_is_no_person(promoting, azure, monkeypatch):
    azure.identity.person = ""
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text("")
    assert "is known only as" in promoting.refused("two persons")
    # With a name in git it is somebody's doing, such as who approved it in CI.
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text("[user]\nemail = bob@example.org\n")
    assert promoting.promote("--dry-run").status == 0


def test_maker_whom_no_record_names_is_not_taken_for_another(promoting):
    for path in promoting.folder.glob(".runs/runs/toy*/run.json"):
        edit_json(path, lambda record: record.pop("started_by"))
    assert promoting.refused("two persons") == "no local record names who built the model"


def test_who_made_a_part_is_not_taken_for_who_made_the_model(promoting):
    """As where one trained before records told who, and another measured since."""
    first, second = (promoting.folder / f".runs/runs/{run}/run.json" for run in promoting.runs)
    edit_json(second, lambda record: record.pop("started_by"))
    edit_json(first, lambda record: record.update(started_by=["carol"]))
    assert promoting.refused("two persons") == "no local record names who built the model"


def test_team_of_one_may_say_so_and_the_decision_tells(promoting, azure, monkeypatch):
    be(monkeypatch, promoting.folder, "ada")
    azure.identity.person = "ada@example.org"
    promoting.profile("[roles", "[promotion]\ntwo_persons = false\n[roles")
    outcome = promoting.promote()
    assert outcome.status == 0, outcome.err
    assert "note: profile team does not require a second person" in outcome.out
    decision = read_promotion(promoting.decisions[0], "")
    assert (decision.two_persons, decision.authors) == (False, ("ada",))


def edited_file(promoting):
    (promoting.output("encoder", "encoder") / "saved_model/saved_model.pb").write_text("other")
    return "chain"


def withdrawn_encoder(promoting):
    encoder = promoting.output("encoder", "encoder")
    words = ("withdraw", str(encoder), "--reason", "Its owner asked")
    assert promoting.main(*words, anew=False).status == 0
    return "chain"


def part_is_gone(promoting):
    shutil.rmtree(promoting.output("snapshot", "snapshot").parent)
    return


def better_evidence(promoting):
    """That of the other model, by a tag and by its place."""
    other = read_evidence(promoting.output("measured", "evidence", run=1), "")
    promoting.tag("evidence_digest", other.as_statement()["digest"], version=1)
    return


def edited_evidence(promoting):
    proof = promoting.output("measured", "evidence")
    edit_json(proof, lambda s: s["predicate"]["metrics"]["accuracy"].update(value=0.99))
    forge(proof)
    return


def failed_evidence(promoting):
    return rewritten(promoting, (Threshold("min_accuracy", 0.95, 0.9, False),))


def evidence_that_says_it_passed(promoting):
    """Written anew, with a digest over itself, and named in the registry."""
    return rewritten(promoting, (Threshold("min_accuracy", 0.95, 0.9, True),))


def evidence_of_nothing(promoting):
    return rewritten(promoting, ())


def champion_of_nobody(promoting):
    """Evidence, written anew, that is better than a model which its step was never given."""
    gain = {"accuracy": {"value": 0.2, "low": 0.1, "high": 0.3}}
    found = ChampionComparison("c" * 64, "d" * 64, "d" * 64, 7, 2, 0, {}, gain)
    rewritten(promoting, (Threshold("min_accuracy_gain", 0.05, 0.2, True),), comparison=found)


def rewritten(promoting, thresholds, **other):
    proof = promoting.output("measured", "evidence")
    written = replace(read_evidence(proof, ""), thresholds=thresholds, **other)
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
    """A decision that was taken, taken back where the model was made."""
    promoting.profile('encoder_policy = "experiment"', 'encoder_policy = "production"')
    pin = str(promoting.output("encoder", "encoder") / PIN_NAME)
    promoting.edit(pin, 'loading = "mounted"', 'loading = "undecided"')
    return


def encoder_without_a_version(promoting):
    promoting.profile('encoder_policy = "experiment"', 'encoder_policy = "production"')
    pin = str(promoting.output("encoder", "encoder") / PIN_NAME)
    promoting.edit(pin, "toy/encoder/1", "toy/encoder")
    return


def realtime_without_latency(promoting):
    """A decision for realtime, and nothing that shows how soon it answers."""
    pin = str(promoting.output("encoder", "encoder") / PIN_NAME)
    promoting.edit(pin, 'inference = "batch"', 'inference = "realtime"\nlatency_budget_ms = 50')
    return


def no_release(promoting):
    """A profile that takes locks."""
    promoting.profile('encoder_policy = "experiment"', LOCKS)
    return "release"


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
    withdrawn_encoder,
    part_is_gone,
    better_evidence,
    edited_evidence,
    failed_evidence,
    evidence_that_says_it_passed,
    evidence_of_nothing,
    evidence_by_hand,
    champion_of_nobody,
    nobody_owns_it,
    undecided_encoder,
    encoder_without_a_version,
    realtime_without_latency,
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
        # The chain names a tag that was edited too.
        also = ["chain"] if way is nobody_owns_it else []
        promoting.refused(condition, what=what, also=also)
    outcome = promoting.promote(what=what)
    assert outcome.status == 1, outcome.out
    assert promoting.nothing_is_sent()
    assert promoting.decisions == []
    golden(f"promote_{way.__name__}", promoting.told(outcome))


AGAIN = '''"""again: measures a model on other data."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import measure_toy, snapshot_data


@dsl.pipeline(name="again")
def again(
    source: Input(type="uri_folder", description="Pictures"),
    model: Input(type="mlflow_model", description="A model"),
):
    snapshot = snapshot_data(source=source)
    measured = measure_toy(model=model, snapshot=snapshot.outputs.snapshot)
    return {"evidence": measured.outputs.evidence}
'''


def test_evidence_of_other_data_lets_no_model_pass(promoting, monkeypatch, golden):
    """Sound and by a step, but of pictures that somebody chose."""
    be(monkeypatch, promoting.folder, "ada")
    promoting.write("pipelines/again.py", AGAIN)
    for path in (promoting.folder / "pictures").glob("*/?.bmp"):
        path.unlink()
    model = promoting.output("trained", "model")
    words = ("--set", f"model={model}", "--set", "source=pictures")
    assert promoting.main("run", "again", *words).status == 0
    run = json.loads(promoting.read(".runs/runs/latest/run.json"))
    proof = read_evidence(Path(run["outputs"]["evidence"]), "")
    promoting.tag("evidence_digest", proof.as_statement()["digest"])
    be(monkeypatch, promoting.folder, "bob")
    outcome = promoting.promote("--dry-run")
    assert outcome.status == 1
    golden("promote_other_data", promoting.told(outcome))


class Released(Promoting):
    """The chain in a repository, with a profile that takes locks alone."""

    def lock(self, **parts):
        """A lock of the model, committed by ada."""
        proof = read_evidence(self.output("measured", "evidence"), "")
        proven = LockedEvidence(proof.model_digest, proof.as_statement()["digest"], proof.passed)
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
        said = {"owner": "the-team", "commit": head.stdout.strip(), "evidence": proven} | parts
        lock = ReleaseLock(name="first", pipeline="toy_model", profile="local", **said).sealed()
        path = self.folder / "pipelines/releases/first.lock.toml"
        write_lock(lock, path)
        self.commit("ada")
        return path

    def commit(self, name):
        who = ["-c", f"user.email={name}@example.org", "-c", f"user.name={name}"]
        self.git("add", "--all")
        self.git(*who, "commit", "-q", "-m", "a state")

    def release_problems(self, what="toy:2"):
        outcome = self.promote("--json", "--dry-run", what=what)
        [found] = [it for it in outcome.record["conditions"] if it["condition"] == "release"]
        return "; ".join(problem["problem"] for problem in found["problems"])


@pytest.fixture
def released(promoting):
    promoting.__class__ = Released
    promoting.profile('encoder_policy = "experiment"', LOCKS)
    promoting.write(".gitignore", ".runs/\n__pycache__/\nconfig.json\n")
    promoting.git("init", "-q", "-b", "main")
    promoting.commit("carol")
    return promoting


def test_model_that_a_reviewed_lock_names_is_promoted(released, golden):
    released.lock()
    outcome = released.promote()
    assert outcome.status == 0, outcome.out + outcome.err
    golden("promote_release", released.told(outcome))
    decision = read_promotion(released.decisions[0], "")
    assert decision.release == "first"
    assert decision.authors == ("ada", "ada@example.org", "the-team")
    # What is promoted under another profile is promoted there alone.
    assert released.release_problems("toy:1").startswith("no release lock names the model")


def test_who_wrote_the_lock_cannot_promote_what_it_names(released):
    for path in released.folder.glob(".runs/runs/toy*/run.json"):
        edit_json(path, lambda record: record.update(owner="the-team", started_by=[]))
    released.tag("owner", "the-team")
    path = released.lock()
    # The chain names the edited tag; the condition of two persons is met.
    released.refused("chain")
    path.write_text(path.read_text() + "# a line of bob's\n")
    released.commit("bob")
    assert "bob@example.org is bob" in released.refused("two persons", also=["chain"])


def test_newest_version_is_not_taken_where_locks_are_asked_for(released, golden):
    released.lock()
    outcome = released.promote(what="toy")
    assert outcome.status == 2
    golden("promote_error_no_version", released.told(outcome))


def test_lock_that_is_not_the_reviewed_one_counts_for_nothing(released, golden):
    path = released.lock()
    released.write("note", "x")
    told = [released.release_problems()]
    (released.folder / "note").unlink()
    path.write_text(path.read_text().replace('profile = "local"', 'profile = "lax"'))
    told.append(released.release_problems())
    path.unlink()
    told.append(released.release_problems())
    path = released.lock(commit="1" * 40)
    told.append(released.release_problems())
    other = read_evidence(released.output("measured", "evidence"), "")
    released.lock(evidence=LockedEvidence(other.model_digest, "0" * 64, True))
    told.append(released.release_problems())
    released.lock(evidence=LockedEvidence(other.model_digest, "0" * 64, False))
    told.append(released.release_problems())
    text = re.sub(r"\b[0-9a-f]{12}\b", "DIGEST", "\n".join(told))
    golden("promote_release_problems", f"{text}\n")


def test_replay_of_a_lock_is_what_its_steps_were(released):
    """As their statements tell, each of which verify holds against the others."""
    statements = [*released.folder.glob(f".runs/store/*/*/{STATEMENT_NAME}")]
    statements += released.folder.glob(f".runs/mlflow/*/*/artifacts/model/{STATEMENT_NAME}")
    for path in statements:
        edit_json(path, lambda s: facts(s).update(release_lock="first"))
    made = [read_lineage(path.parent).provenance for path in statements]
    parts = {
        "components": {it.step: LockedComponent("1", "1", it.code_digest) for it in made},
        "steps": {str(n): LockedStep(it.step, "x", {}, _given(it)) for n, it in enumerate(made)},
        "evidence": None,
    }
    released.lock(**parts)
    assert released.release_problems() == ""
    other = parts["components"] | {"train_toy": LockedComponent("1", "1", "0" * 64)}
    released.lock(**parts | {"components": other})
    assert released.release_problems().endswith("train_toy ran other code")
    steps = {n: it for n, it in parts["steps"].items() if it.component != "train_toy"}
    released.lock(**parts | {"steps": steps})
    assert released.release_problems().endswith("train_toy had other parameters")
    released.lock(**parts)
    for path in statements:
        if read_lineage(path.parent).provenance.step == "snapshot_data":
            edit_json(path, lambda s: facts(s).pop("release_lock"))
    assert "snapshot_data did not replay the lock" in released.release_problems()


def _given(made):
    return {name: value for name, value in made.parameters.items() if value is not None}


def facts(statement):
    return statement["predicate"]["buildDefinition"]["internalParameters"]["facts"]


def test_model_goes_to_the_registry_that_the_profile_names(promoting, azure):
    shared = azure.add_registry("shared")
    promoting.profile("[roles", '[promotion]\nregistry = "shared"\n[roles')
    outcome = promoting.promote()
    assert outcome.status == 0, outcome.err
    assert "to       registry shared" in outcome.out
    [model] = shared.versions("models")
    [data] = shared.versions("data")
    decision = read_promotion(promoting.decisions[0], "")
    assert decision.destination == "registry shared"
    tags = model["properties"]["tags"]
    assert tags["tfhub_blocks.promotion.team"] == f"toy-promotion:{data['name']}"
    assert promoting.models() == []
    azure.recorder.clear()
    again = promoting.promote()
    assert again.status == 0
    assert "already promoted: promoted by bob@example.org" in again.out
    assert (len(shared.versions("models")), len(shared.versions("data"))) == (1, 1)


def test_promotion_under_another_profile_is_another_decision_about_one_version(promoting):
    promoting.promote()
    promoting.write("pipelines/profiles/other.toml", TEAM)
    outcome = promoting.promote(to="other", reason="Also here")
    assert outcome.status == 0, outcome.err
    [model] = promoting.models()
    tags = model["properties"]["tags"]
    assert tags["tfhub_blocks.promoted_because.team"] == BECAUSE
    assert tags["tfhub_blocks.promoted_because.other"] == "Also here"
    assert len(promoting.decisions) == 2
    assert promoting.kinds("toy:2") == set()


def other_files(promoting, azure):
    (promoting.folder / "saved/MLmodel").write_text("planted")
    version = read_lineage(promoting.output("trained", "model")).digest[:12]
    planted = Model(name="toy", version=version, path=str(promoting.folder / "saved"))
    azure.client().models.create_or_update(planted)


def replaced_blob(promoting, azure):
    promoting.promote()
    [model] = promoting.models()
    other = promoting.folder / "model"
    shutil.copytree(promoting.output("trained", "model"), other)
    (other / "weights").unlink()
    (other / "weights").write_text("9.9")
    azure.storage.upload(other, model["properties"]["modelUri"])


@pytest.mark.parametrize("way", [other_files, replaced_blob])
def test_other_content_never_takes_the_place_of_a_version(promoting, azure, golden, way):
    """Whatever the tags say: what is there is read."""
    way(promoting, azure)
    azure.recorder.clear()
    outcome = promoting.promote()
    assert outcome.status == 2
    assert promoting.nothing_is_sent()
    golden(f"promote_error_{way.__name__}", promoting.told(outcome))


def test_model_that_changes_after_it_was_verified_is_not_sent(promoting, monkeypatch):
    artifacts = find_registration(promoting.folder / ".runs", "toy:2", "").source

    @contextmanager
    def slow_intent(*words):
        (artifacts / "weights").write_text("9.9")
        with intent(*words) as kept:
            yield kept

    monkeypatch.setattr("tfhub_blocks.control.promotion.promoting.intent", slow_intent)
    outcome = promoting.promote()
    assert outcome.status == 2
    assert "the model was changed after its lineage was verified" in outcome.err
    assert promoting.nothing_is_sent()


@pytest.mark.parametrize(
    ("fault", "index"),
    [
        *((Fault.FORBIDDEN, index) for index in (0, 1, 3, 4, 7, 9, 12, LAST)),
        *((Fault.LOST_ANSWER, index) for index in (6, 7, 11, LAST)),
    ],
)
def test_any_request_may_fail_and_there_is_one_model_and_one_decision(
    promoting, azure, quick_retries, fault, index
):
    azure.recorder.inject(fault, at=index)
    for _ in range(2):
        outcome = promoting.promote()
        assert outcome.status in (0, 2), outcome.out
    assert outcome.status == 0, outcome.err
    assert azure.recorder.faults == {}
    [model] = promoting.models()
    [data] = azure.workspace.versions("data")
    [path] = promoting.decisions
    tags = model["properties"]["tags"]
    assert tags["tfhub_blocks.promoted.team"] == read_promotion(path, "").digest
    assert tags["tfhub_blocks.promotion.team"] == f"toy-promotion:{data['name']}"
    assert promoting.kinds("toy:2") == set()


def test_killed_promotion_is_taken_up_with_the_same_decision(promoting, azure):
    words = ("promote", "toy:2", "--to", "team", "--reason", BECAUSE)
    # The answer to the last request takes a second, in which the process ends.
    azure.recorder.inject(Fault.SLOW, at=LAST)
    process = promoting.start(*words)
    wait_for(lambda: len(azure.recorder.requests) > LAST, timeout_s=300)
    process.kill()
    process.communicate()
    [intent] = promoting.folder.glob(".runs/intents/*.json")
    kept = json.loads(intent.read_text())["value"]
    assert promoting.decisions == []
    assert promoting.promote().status == 0
    [path] = promoting.decisions
    assert path.read_text() == kept
    assert (len(promoting.models()), len(azure.workspace.versions("data"))) == (1, 1)


def test_wrong_requests_are_told(promoting, golden):
    told = ""
    for words in (
        {"reason": "  "},
        {"reason": "x" * 251},
        {"reason": "two\nlines"},
        {"what": "toi:1"},
        {"what": "toy:7"},
        {"what": "latest"},
        {"to": "teem"},
    ):
        outcome = promoting.promote(**words)
        assert outcome.status == 2
        told += promoting.told(outcome)
    promoting.profile("[roles", "[promotion]\ntwo_person = false\n[roles")
    told += promoting.told(promoting.promote())
    promoting.profile("two_person = false", 'registry = "a"\nworkspace = "b"')
    told += promoting.told(promoting.promote())
    golden("promote_error_requests", told)
