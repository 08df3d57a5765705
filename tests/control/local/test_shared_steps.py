"""A step on several workers in the local engine, and work that survives what ends a step."""

import os
import signal
from pathlib import Path

import pytest
from toy_project import PATIENCE_S, SHARE, SHARED, is_alive, wait_for

# Each worker says who it is, and after some parts waits for a file.
WAITS = """
place = Path(__file__).parents[6]
(place / f"worker-{run.worker.index}-{os.getpid()}").touch()
while done > 5 and not (place / "go").exists():
    time.sleep(0.02)
"""


class Sharing:
    """The toy project with a pipeline of a plain step and one that can be shared."""

    def __init__(self, project):
        self.project = project
        self.write()
        self.pipeline()

    def write(self, effect="pass"):
        lines = "\n                ".join(effect.splitlines())
        self.project.write("components/share/component.py", SHARE.replace("# EFFECT", lines))

    def pipeline(self, many="pass", first="pass"):
        text = SHARED.replace("# MANY", many).replace("# FIRST", first)
        self.project.write("pipelines/shared.py", text)

    def workers(self, count):
        self.project.write(
            "pipelines/profiles/many.toml",
            'format_version = 1\ndescription = "x"\nengine = "local"\n'
            f'[roles.cpu]\ncompute = "local"\ntimeout_s = 60\ninstance_count = {count}\n',
        )

    def run(self, count=None, *words):
        if count is not None:
            self.workers(count)
            words = ("--profile", "many", *words)
        return self.project.run(*words, pipeline="shared")

    def start(self, count):
        self.workers(count)
        return self.project.start(
            *("run", "shared", "--profile", "many", "--set", "source=src", "--json")
        )

    def logs(self, outcome):
        """The logs of the shared step, worker by worker."""
        folder = Path(outcome.record["steps"]["many"]["log"]).parent
        return [path.read_text() for path in sorted(folder.glob("log*.txt"))]

    def made(self, outcome):
        """How many parts each worker made."""
        return [log.count("\nmade ") for log in self.logs(outcome)]

    def pids(self, count):
        """The process of each worker, once so many have begun."""

        def found():
            names = [path.name.split("-") for path in self.project.folder.glob("worker-*-*")]
            return len(names) == count and {int(index): int(pid) for _, index, pid in names}

        return wait_for(found)

    def parts(self):
        """The parts that are kept now."""
        found = self.project.folder.glob(".runs/store/*.attempt-*/shared/.work/*/*")
        return [p.name for p in found if len(p.name) == 64]


@pytest.fixture
def sharing(project):
    return Sharing(project)


def test_profile_says_on_how_many_workers_a_shared_step_runs(sharing):
    outcome = sharing.run(3)
    assert outcome.status == 0, outcome.err
    made = sharing.made(outcome)
    assert len(made) == 3
    assert sum(made) == 12
    assert all(count < 12 for count in made)
    # A step that cannot share its work runs once.
    log = Path(outcome.record["steps"]["first"]["log"])
    assert [path.name for path in log.parent.glob("log*.txt")] == ["log.txt"]
    [output] = [Path(path) for path in outcome.record["outputs"].values()]
    assert sorted(path.name for path in output.iterdir()) == ["all", "lineage.json"]
    # What is made does not depend on the number, so neither does reuse.
    assert sharing.run(2).reused() == {"first": True, "many": True}


def test_pipeline_has_the_last_word_on_the_number(sharing):
    sharing.pipeline("many.resources = {'instance_count': 2}")
    assert len(sharing.made(sharing.run(3))) == 2
    sharing.pipeline("many.set_resources(instance_count=1)")
    assert sharing.made(sharing.run(3, "--no-reuse")) == [12]


def test_one_killed_worker_fails_the_step_and_the_rerun_makes_what_is_missing(sharing):
    sharing.write(WAITS)
    engine = sharing.start(3)
    pids = sharing.pids(3)
    wait_for(lambda: len(sharing.parts()) >= 6)
    kept = len(sharing.parts())
    os.kill(pids[1], signal.SIGKILL)
    out, _ = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 1
    assert '"error": "worker 1 of 3 (the first is 0): signal SIGKILL ended the step"' in out
    assert "log.worker1.txt" in out
    assert not any(is_alive(pid) for pid in pids.values())
    (sharing.project.folder / "go").touch()
    outcome = sharing.run(2)
    assert outcome.status == 0, outcome.err
    assert sum(sharing.made(outcome)) == 12 - kept
    assert not list(sharing.project.folder.glob(".runs/store/*.attempt-*"))


@pytest.mark.slow
def test_work_outlives_a_killed_engine(sharing):
    sharing.write(WAITS)
    engine = sharing.start(1)
    pids = sharing.pids(1)
    wait_for(lambda: len(sharing.parts()) >= 6)
    engine.kill()
    engine.communicate()
    wait_for(lambda: not any(is_alive(pid) for pid in pids.values()))
    kept = len(sharing.parts())
    (sharing.project.folder / "go").touch()
    outcome = sharing.run(3)
    assert outcome.status == 0, outcome.err
    assert sum(sharing.made(outcome)) == 12 - kept


@pytest.mark.slow
def test_interrupted_run_keeps_its_work(sharing):
    sharing.write(WAITS)
    engine = sharing.start(2)
    pids = sharing.pids(2)
    wait_for(lambda: len(sharing.parts()) >= 6)
    engine.send_signal(signal.SIGINT)
    engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 130
    assert not any(is_alive(pid) for pid in pids.values())
    assert len(sharing.parts()) >= 6


def test_what_a_worker_says_is_the_error_of_the_step(sharing):
    sharing.write(
        "from tfhub_blocks.records.base.errors import BlocksError\n"
        "if run.worker.index == 2:\n"
        '    raise BlocksError("share", "x", "x is bad", "good", "Pass y")'
    )
    outcome = sharing.run(3)
    assert outcome.status == 1
    step = outcome.record["steps"]["many"]
    told = "[share > x] x is bad. Expected good. Pass y."
    assert step["error"] == f"worker 2 of 3 (the first is 0): {told}"
    assert f"  | error: {told}\n" in outcome.err
    assert Path(step["log"]).name == "log.worker2.txt"


def test_no_reuse_takes_up_no_work(sharing):
    sharing.write(
        "if done > 5 and not (Path(__file__).parents[6] / 'go').exists():\n    raise OSError"
    )
    assert sharing.run(1).status == 1
    assert len(sharing.parts()) == 6
    (sharing.project.folder / "go").touch()
    assert sharing.made(sharing.run(1, "--no-reuse")) == [12]


def test_edited_code_takes_up_no_work(sharing):
    sharing.write("if done > 5:\n    raise OSError")
    assert sharing.run(1).status == 1
    sharing.write("pass")
    assert sharing.made(sharing.run(1)) == [12]


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        (
            {"first": "first.resources = {'instance_count': 2}"},
            "[pipeline > first.resources] instance_count is 2. Expected 1, or a component with the "
            'tag "workers": "many". Change instance_count of step first in the pipeline, or remove '
            "it, so that the profile decides.",
        ),
        (
            {"many": "many.resources = {'instance_count': 0}"},
            "[pipeline > many.resources] instance_count is 0. Expected a whole number, at least 1. "
            "Change instance_count of step many in the pipeline, or remove it, so that the profile "
            "decides.",
        ),
    ],
)
def test_wrong_number_of_workers_is_told_before_anything_runs(pipeline, told, sharing):
    sharing.pipeline(**pipeline)
    outcome = sharing.run()
    assert (outcome.status, outcome.err) == (2, f"error: {told}\n")
    assert not (sharing.project.folder / ".runs").exists()


def test_number_that_azure_ml_gives_to_other_nodes_as_well_is_told(sharing):
    """azure-ai-ml writes it into the component, and nodes of that share one object."""
    sharing.pipeline(
        "many.set_resources(instance_count=2)\n    more = share(source=first.outputs.made)"
    )
    outcome = sharing.run()
    assert outcome.status == 2
    assert outcome.err == (
        "error: [pipeline > more.resources] steps more and many share one resources object, "
        "because azure-ai-ml copies it after set_resources. Expected separate resources for each "
        "step. Replace many.set_resources(...) in the pipeline with many.resources = "
        '{"instance_count": ...}.\n'
    )


def test_profile_with_no_workers_is_told(sharing):
    outcome = sharing.run(0)
    assert outcome.status == 2
    assert (
        "roles.cpu.instance_count] instance_count is 0. Expected at least 1. Edit roles.cpu"
        in outcome.err
    )
