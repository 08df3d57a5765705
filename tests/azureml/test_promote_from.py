"""A model that a job registered in a workspace is promoted from there, with all that made it.

UPDATE_GOLDENS=1 renews what is told.
"""

import re
import shutil

import pytest
from azure.ai.ml.entities import Data, Environment, Model
from test_promote import BECAUSE, TEAM, Promoting, be
from toy_chain import write_project

from tfhub_blocks.control.lineage.run_archive import FETCHED
from tfhub_blocks.records.formats.promotions import read_promotion

RESEARCH = """
format_version = 1
description = "x"
engine = "azureml"
environment_policy = "record"
encoder_policy = "experiment"
[job]
owner = "ada"
cost_centre = "toys"
components = "inline"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 60
[promotion]
workspace = "loopback"
"""
SHARED = f'{TEAM}[promotion]\nregistry = "shared"\n'
APART = f'{TEAM}[promotion]\nworkspace = "production"\n'
GIVEN = {"source": "azureml:pictures:1", "saved": "azureml:saved:1", "owner": "us"}
ADA, BOB, CAROL = (f"{name}@example.org" for name in ("ada", "bob", "carol"))


class Elsewhere(Promoting):
    """A machine on which nothing ran; bob promotes models of the workspace to a registry."""

    runs = ()

    @property
    def made_in(self):
        return self.folder

    def promote(self, *words, what="toy:1", to="team", source="research", reason=BECAUSE):
        return super().promote("--from", source, *words, what=what, to=to, reason=reason)

    def told(self, outcome):
        text = super().told(outcome)
        text = re.sub(r"toy_model-[\dTZ]+-\w+", "JOB", text)
        return re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-DIGEST", "ID", text)

    def refused(self, condition, *words, **what):
        """What is told where conditions are not met, in a new try; nothing is sent."""
        self.forget()
        outcome = self.promote("--json", "--dry-run", *words, **what)
        assert outcome.status == 1, outcome.out + outcome.err
        found = {it["condition"]: it["problems"] for it in outcome.record["conditions"]}
        assert condition in [name for name, problems in found.items() if problems]
        return " ".join(problem["problem"] for problem in found[condition])

    def models(self):
        return self.plane.workspace.registries["shared"].versions("models")

    def resources(self):
        """What is in the workspace where the model was made."""
        return sorted(self.plane.workspace.resources)

    def forget(self):
        """Be as on another machine."""
        shutil.rmtree(self.folder / ".runs", ignore_errors=True)

    def submit(self, person, **given):
        """Let a job of a person make and register a model."""
        self.plane.identity.person = person
        words = [word for item in (GIVEN | given).items() for word in ("--set", "=".join(item))]
        outcome = self.main("submit", "toy_model", "--profile", "research", *words, "--wait")
        assert outcome.status == 0, outcome.out + outcome.err
        self.plane.identity.person = BOB
        self.forget()

    def registered(self, version=1):
        """The model as the workspace keeps it, to be tampered with."""
        return self.plane.workspace.get(f"models/toy/versions/{version}")["properties"]

    def step(self, name):
        """A step as the run history keeps it."""
        runs = self.plane.workspace.step_runs.values()
        return next(run for run in runs if run["displayName"] == name)


@pytest.fixture
def elsewhere(azure, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "project"
    write_project(folder)
    made = Elsewhere(folder, capfd)
    made.plane = azure
    azure.write_config(folder)
    azure.add_registry("shared")
    azure.identity.person = BOB
    monkeypatch.chdir(folder)
    be(monkeypatch, folder, "bob")
    made.write("pipelines/profiles/team.toml", SHARED)
    made.write("pipelines/profiles/research.toml", RESEARCH)
    return made


@pytest.fixture
def working(furnished, elsewhere):
    """The same, in whose workspace jobs run."""
    client, folder = furnished.client, elsewhere.folder
    client.environments.create_or_update(Environment(name="x", version="1", image="example.org/x"))
    data = Data(name="pictures", version="1", path=str(folder / "pictures"), type="uri_folder")
    client.data.create_or_update(data)
    saved = Model(name="saved", version="1", path=folder / "saved", type="custom_model")
    client.models.create_or_update(saved)
    elsewhere.plane.run_jobs()
    return elsewhere


@pytest.mark.slow
def test_model_of_a_job_is_promoted_with_its_chain_and_not_without(working, golden):
    working.submit(ADA, strength="9")
    outcome = working.promote("--dry-run")
    assert outcome.status == 0, outcome.out + outcome.err
    golden("promote_from_dry_run", working.told(outcome))
    assert working.models() == []

    # Who made it may not, by whatever name the workspace knows them.
    working.plane.identity.person = ADA
    assert "ada@example.org is ada@example.org" in working.refused("two persons")
    working.plane.identity.person = BOB

    # What the workspace says of it is held against what lies there.
    tags = working.registered()["tags"]
    sound = dict(tags)
    tags["tfhub_blocks.evidence_digest"] = "0" * 64
    assert "is changed, or was not found locally" in working.refused("evidence")
    tags |= sound | {"tfhub_blocks.statement_digest": "0" * 64}
    assert "tag statement_digest" in working.refused("chain")
    tags |= sound

    # What is not there any more is a gap, and told.
    report = working.step("snapshot")["outputs"]["snapshot"]
    place = report["assetId"]
    report["assetId"] = f"{place}-gone"
    working.forget()
    outcome = working.promote()
    assert outcome.status == 1
    golden("promote_from_gap", working.told(outcome))
    report["assetId"] = place

    # A decision for elsewhere, which anybody may have written there, goes nowhere.
    tags |= {"tfhub_blocks.promoted.other": "0" * 64, "tfhub_blocks.promotion.other": "x:1"}
    working.forget()
    outcome = working.promote()
    assert outcome.status == 0, outcome.out + outcome.err
    golden("promote_from", working.told(outcome))
    [model] = working.models()
    [path] = working.folder.glob(f".runs/{FETCHED}/models/*/model.promotion-*.json")
    decision = read_promotion(path, "")
    found = model["properties"]["tags"]
    assert found["tfhub_blocks.promoted.team"] == decision.digest
    assert found["tfhub_blocks.owner"] == "us"
    assert not [name for name in found if name.endswith(".other")]
    assert decision.model == "toy:1 of workspace loopback"
    assert {ADA, "us"} <= set(decision.authors)
    assert BOB in decision.promoters
    assert len(decision.chain) == 4

    # To another workspace, the one that its profile names; and nothing is written in the first.
    working.write("pipelines/profiles/apart.toml", APART)
    production, own = working.plane.add_workspace("production"), working.resources()
    there = working.plane.write_config(working.write("beside/x", "").parent, production)
    words = ("--workspace-config", str(there), "--from-config", "config.json")
    for state in ("published", "already promoted: promoted by"):
        outcome = working.promote(*words, to="apart")
        assert outcome.status == 0, outcome.out + outcome.err
        assert state in outcome.out
    [apart] = production.versions("models")
    assert (apart["name"], "/workspaces/production/" in apart["id"]) == (model["name"], True)
    found = apart["properties"]["tags"]
    assert found["tfhub_blocks.owner"] == "us"
    [data] = production.versions("data")
    assert found["tfhub_blocks.promotion.apart"] == f"toy-promotion:{data['name']}"
    assert working.resources() == own

    # Again, here and on another machine: nothing is made twice.
    for _ in range(2):
        outcome = working.promote()
        assert outcome.status == 0, outcome.out + outcome.err
        assert "already promoted: promoted by" in outcome.out
        assert working.models() == [model]
        working.forget()

    # A part that a step reused was made by whoever had it made.
    working.submit(CAROL, strength="8")
    assert working.registered(2)["jobName"] != working.registered(1)["jobName"]
    outcome = working.promote("--json", "--dry-run", what="toy:2")
    assert {ADA, CAROL} <= set(outcome.record["authors"])
    assert outcome.status == 0
    working.plane.identity.person = ADA
    assert "ada@example.org is" in working.refused("two persons", what="toy:2")

    # What was changed on this machine is fetched again.
    working.plane.identity.person = BOB
    for path in working.folder.glob(f".runs/{FETCHED}/*/*/model/weights"):
        path.write_text("edited")
    assert working.promote("--dry-run", what="toy:2").status == 0

    # Files that were changed in the workspace are not those of the registered model.
    edited = working.write("edited", "edited")
    working.plane.storage.upload(edited, f"{working.registered(2)['modelUri']}/weights")
    assert "weights" in working.refused("chain", what="toy:2")


def test_model_that_no_job_registered_has_no_chain(elsewhere, golden):
    folder = elsewhere.write("by-hand/MLmodel", "{}").parent
    model = Model(name="toy", version="1", path=folder, type="mlflow_model")
    elsewhere.plane.client().models.create_or_update(model)
    outcome = elsewhere.promote()
    assert outcome.status == 1
    golden("promote_from_by_hand", elsewhere.told(outcome))
    assert elsewhere.models() == []


def test_wrong_requests_from_a_workspace_are_told(elsewhere, golden):
    asked = [
        {"what": "toy:1"},
        {"what": "toy"},
        {"what": "toy@latest"},
        {"source": "reserch"},
        {"source": "team"},
        {"source": "local"},
    ]
    outcomes = [elsewhere.promote(**words) for words in asked]
    elsewhere.edit("pipelines/profiles/research.toml", '"loopback"', '"somewhere"')
    outcomes.append(elsewhere.promote())
    alone = ("promote", "toy:1", "--to", "team", "--from-config", "config.json")
    outcomes.append(elsewhere.main(*alone, "--reason", BECAUSE))
    assert {outcome.status for outcome in outcomes} == {2}
    golden("promote_error_from", "".join(elsewhere.told(outcome) for outcome in outcomes))
