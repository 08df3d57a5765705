"""A registered model is made again on Azure ML, from its lineage, and compared.

UPDATE_GOLDENS=1 renews what is told.
"""

import re
import shutil
import signal

import pytest
from azure.ai.ml.entities import AmlCompute, Environment
from chain_tampering import edit_json, forge
from toy_chain import Chain
from toy_project import PATIENCE_S, ROOT, wait_for

from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.environment.package_locks import LOCK_NAME, parse_lock

STEPS = ("pin_toy", "snapshot_data", "train_toy")
PROFILE = """
format_version = 1
description = "x"
engine = "azureml"
environment_policy = "record"
encoder_policy = "experiment"
[job]
owner = "bob"
cost_centre = "toys"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 100
"""


class Reproducing(Chain):
    """The chain, with a workspace and a profile for it."""

    def reproduce(self, *words, what="toy:2"):
        return self.main("reproduce", what, "--profile", "team", *words)

    def furnish(self, run=True):
        """All that the steps need there; jobs run, or only wait."""
        client = self.plane.client()
        cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=2)
        client.compute.begin_create_or_update(cluster).result()
        image = Environment(name="x", version="1", image="example.org/toy:1")
        client.environments.create_or_update(image)
        outcome = self.main("publish", *STEPS)
        assert outcome.status == 0, outcome.err
        if run:
            self.plane.run_jobs()
        self.plane.recorder.clear()

    def told(self, text):
        text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{6}", "TIME", text)
        text = re.sub(r"wsid=\S+", "wsid=WORKSPACE", text)
        text = re.sub(r"\b1\.0\.0-[0-9a-f]{12}", "1.0.0-DIGEST", self.normal(text))
        text = re.sub(r"built on \S+", "built on IMAGE", text)
        # Two steps that run side by side end in either order.
        return re.sub(r"^\w+ +(Queued|Preparing|Running|Completed)\b.*\n", "", text, flags=re.M)

    def jobs(self):
        return self.plane.workspace.versions("jobs")


@pytest.fixture
def reproducing(azure, chain, place_of_sources):
    azure.write_config(chain.folder)
    made = Reproducing(chain.folder, chain.capture)
    made.plane = azure
    made.write("pipelines/profiles/team.toml", PROFILE)
    return made


def test_model_is_made_again_there_from_its_sources_on(reproducing, sources, golden):
    reproducing.furnish()
    outcome = reproducing.reproduce()
    assert outcome.status == 0, outcome.out + outcome.err
    golden("reproduce_equal", reproducing.told(outcome.out))
    [job] = reproducing.jobs()
    name, properties = job["name"], job["properties"]
    assert properties["settings"]["force_rerun"] is True
    assert "/components/train_toy/" in properties["jobs"]["trained"]["componentId"]
    # What is equal is known by its statement: nothing else was fetched.
    folder = reproducing.folder / ".runs/reproductions" / name
    fetched = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in fetched] == [STATEMENT_NAME] * 3
    # Nothing that was recorded was touched.
    assert reproducing.kinds("toy:2") == set()

    # Who did not stay to its end compares later, and not with another model.
    later = reproducing.reproduce("--job", name, "--json")
    assert later.status == 0, later.err
    assert later.record["equal"]
    other = reproducing.reproduce("--job", name, what="toy:1")
    assert other.status == 2
    golden("error_reproduce_job", reproducing.told(other.err))
    assert len(reproducing.jobs()) == 1

    outcome = reproducing.main("download", name, "--output", "trained__model")
    assert outcome.status == 0, outcome.err
    model = reproducing.folder / outcome.out.strip()
    assert (model / "weights").read_text() == "9.0 True None"


def test_model_that_differs_is_fetched_and_told_how_far(reproducing, golden):
    """A parameter was edited, with all that tells of it: making the model again shows it."""
    reproducing.furnish()
    model = reproducing.output("trained", "model")

    def edit(statement):
        statement["predicate"]["buildDefinition"]["externalParameters"].update(strength=7.0)

    edit_json(model / STATEMENT_NAME, edit)
    forge(model)
    for run in reproducing.runs:
        path = reproducing.folder / ".runs/runs" / run / "run.json"
        edit_json(path, lambda record: record["steps"]["trained"].update(inputs={}))
    shutil.rmtree(reproducing.output("measured", "evidence").parent)
    outcome = reproducing.reproduce(what=str(model))
    assert outcome.status == 1, outcome.out + outcome.err
    golden("reproduce_differs", reproducing.told(outcome.out))
    [weights] = (reproducing.folder / ".runs/reproductions").rglob("weights")
    assert weights.read_text() == "7.0 True None"


def test_step_that_fails_there_is_told_with_its_log(reproducing):
    reproducing.furnish()
    strict = PROFILE.replace('"record"', '"refuse"')
    reproducing.write("pipelines/profiles/team.toml", strict)
    outcome = reproducing.reproduce("--json")
    assert outcome.status == 1, outcome.err
    assert re.search(
        r"^error: step trained \(train_toy:\S+\): \[train_toy > environment\]", outcome.err, re.M
    )
    [job] = reproducing.jobs()
    assert f"log of step trained: run `tfhub-blocks logs {job['name']} trained`" in outcome.err
    assert outcome.record["reasons"] == ["a step failed"]


@pytest.mark.slow
def test_interrupt_ends_the_watching_and_tells_how_to_compare_later(reproducing, golden):
    reproducing.furnish(run=False)
    process = reproducing.start("reproduce", "toy:2", "--profile", "team")
    requests = reproducing.plane.recorder.requests
    wait_for(lambda: any("/children" in it.path for it in requests))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    golden("reproduce_interrupted", reproducing.told(err))
    assert len(reproducing.jobs()) == 1


def test_what_the_workspace_lacks_is_named_before_anything_is_sent(reproducing, golden):
    outcome = reproducing.reproduce()
    assert outcome.status == 2
    golden("error_reproduce_missing", reproducing.told(outcome.out + outcome.err))
    assert {it.method for it in reproducing.plane.recorder.requests} == {"GET"}


def test_packages_are_asked_for_that_the_images_there_are_built_with(reproducing, monkeypatch):
    """All in the lock, whatever is installed here, and before anything is sent."""
    monkeypatch.setattr("tfhub_blocks.control.reproduction.availability.TIMEOUT_S", 0.0)
    # Nobody is asked for the base image of an environment that is another one by now.
    environment = reproducing.folder / "components/environments/cpu"
    shutil.copytree(ROOT / "components/environments/cpu", environment)
    (environment / "Dockerfile").write_text("FROM example.org/later:1\n")
    outcome = reproducing.reproduce("--online")
    assert outcome.status == 2
    lock = parse_lock((environment / LOCK_NAME).read_text(), "lock")
    told = re.findall(r"^package gone: (\S+): pip did not answer within 0 s$", outcome.out, re.M)
    assert set(told) == {f"{name}=={it}" for name, it in lock.target_versions().items()}
    assert {it.method for it in reproducing.plane.recorder.requests} == {"GET"}


def test_code_of_the_checkout_that_is_another_is_named(reproducing, golden):
    component = reproducing.folder / "components/train_toy/component.py"
    component.write_text(component.read_text() + "# of a later time\n")
    outcome = reproducing.reproduce("--dry-run")
    assert outcome.status == 2
    golden("error_reproduce_code", reproducing.told(outcome.out + outcome.err))


def test_profile_that_takes_locks_alone_is_refused(reproducing, golden):
    strict = PROFILE.replace('"record"', '"refuse"').replace('"experiment"', '"production"')
    reproducing.write("pipelines/profiles/team.toml", f'takes = "locks"\n{strict}')
    outcome = reproducing.reproduce()
    assert outcome.status == 2
    golden("error_reproduce_locks", reproducing.told(outcome.err))
    assert reproducing.plane.recorder.requests == []
