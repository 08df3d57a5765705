"""Steps on several nodes of a cluster: as they are asked for, and as they run."""

import re

import pytest
from azure.ai.ml.entities import AmlCompute
from toy_project import SHARE, SHARED, wait_for

DISTRIBUTION = {
    "distribution_type": "TensorFlow",
    "worker_count": 3,
    "parameter_server_count": 0,
}


class Sharing:
    def __init__(self, project):
        self.project, self.plane = project, project.plane
        self.make = project.read("components/make/component.py")
        self.pin = re.search(r"azureml:toy:\w+", self.make)[0]
        self.write()
        self.pipeline()
        self.publish()
        cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=3)
        self.plane.client().compute.begin_create_or_update(cluster).result()

    def publish(self):
        outcome = self.project.main("publish", "make", "share", "--data", "words=src")
        assert outcome.status == 0, outcome.err

    def write(self, effect="pass", made="pass"):
        lines = "\n                ".join(effect.splitlines())
        text = SHARE.replace("azureml:x:1", self.pin).replace("# EFFECT", lines)
        text = text.replace("# MADE", made)
        self.project.write("components/share/component.py", text)

    def pipeline(self, many="pass"):
        self.project.write("pipelines/shared.py", SHARED.replace("# MANY", many))

    def profile(self, **replaced):
        text = self.project.read("pipelines/profiles/toy.toml")
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        self.project.write("pipelines/profiles/toy.toml", text)

    def workers(self, count):
        self.profile(
            **{
                "timeout_s = 60": f"timeout_s = 60\ninstance_count = {count}",
                "max_nodes = 2": "max_nodes = 9",
            }
        )

    def submit(self, *words):
        source = ("--profile", "toy", "--set", f"source={self.project.words}")
        return self.project.main("submit", "shared", *source, *words)

    def submitted(self):
        """The nodes of a job that is submitted now, by name."""
        outcome = self.submit()
        assert outcome.status == 0, outcome.err
        job = self.plane.workspace.get(f"jobs/{outcome.out.splitlines()[0]}")
        return job["properties"]["jobs"]


@pytest.fixture
def sharing(project):
    return Sharing(project)


def test_only_a_shared_step_on_several_nodes_has_a_distribution(sharing):
    """And what a step is does not depend on where it runs."""
    assert not {"distribution", "resources"} & sharing.submitted()["many"].keys()
    sharing.workers(3)
    for components in ("published", "inline"):
        nodes = sharing.submitted()
        assert nodes["many"]["distribution"] == DISTRIBUTION
        assert nodes["many"]["resources"] == {"instance_count": 3}
        assert not {"distribution", "resources"} & nodes["first"].keys()
        component = sharing.plane.workspace.find_by_id(nodes["many"]["componentId"])
        assert not {"distribution", "resources"} & component["properties"]["componentSpec"].keys()
        assert ("anonymous" in nodes["many"]["componentId"]) == (components == "inline")
        sharing.write("# an edit")
        sharing.profile(**{"[job]": '[job]\ncomponents = "inline"'})


def test_pipeline_has_the_last_word_and_the_step_is_still_the_published_one(sharing):
    sharing.workers(3)
    for said in ("resources = {'instance_count': 2}", "set_resources(instance_count=2)"):
        sharing.pipeline(f"many.{said}")
        many = sharing.submitted()["many"]
        assert many["resources"] == {"instance_count": 2}
        assert many["distribution"] == {**DISTRIBUTION, "worker_count": 2}
    sharing.profile(**{'compute = "cpu-cluster"': 'compute = "serverless"\nsize = "S_D2"'})
    nodes = sharing.submitted()
    assert nodes["many"]["resources"] == {"instance_count": 2, "instance_type": "S_D2"}
    assert nodes["first"]["resources"] == {"instance_count": 1, "instance_type": "S_D2"}


REFUSED = [
    (4, "pass", "[submit > compute cpu-cluster] step many needs 4 nodes, but cpu-cluster has"),
    (
        1,
        "many.resources = {'instance_count': 10}",
        "10. Expected at most 9, the max_nodes",
    ),
    (1, "many.resources = {'instance_count': 0}", "0. Expected a whole number, at least 1"),
    (1, "first.resources = {'instance_count': 2}", "[pipeline > first.resources] instance_count"),
    (0, "pass", "roles.cpu.instance_count] instance_count is 0. Expected at least 1"),
    (
        10,
        "pass",
        "roles.cpu.instance_count] instance_count is 10. Expected at most 9, the max_nodes",
    ),
]


def test_number_that_cannot_be_is_refused_before_anything_is_sent(sharing):
    toy = sharing.project.read("pipelines/profiles/toy.toml")
    sharing.plane.recorder.clear()
    for count, many, told in REFUSED:
        sharing.project.write("pipelines/profiles/toy.toml", toy)
        sharing.workers(count)
        sharing.pipeline(many)
        outcome = sharing.submit()
        assert outcome.status == 2
        assert told in outcome.err
        assert outcome.err.count("\n") == 1
    assert {request.method for request in sharing.plane.recorder.requests} == {"GET"}


def test_job_runs_on_all_its_workers_and_what_they_made_outlives_their_nodes(sharing):
    place = sharing.project.folder / "place"
    place.mkdir()
    sharing.write(
        f"place = Path({str(place)!r})\n"
        "while done > 5 and not (place / 'go').exists():\n    time.sleep(0.02)",
        "(place / f'made-{name}-by-{run.worker.index}-{os.getpid()}').touch()",
    )
    sharing.publish()
    sharing.workers(3)
    sharing.plane.run_jobs()
    job = sharing.submit().out.partition("\n")[0]
    wait_for(lambda: len(list(place.glob("made-*"))) == 6)
    sharing.plane.executor.node(job, "many").preempt(grace_s=1)
    (place / "go").touch()
    assert sharing.project.main("status", job, "--wait").status == 0
    made = [path.name.split("-") for path in place.glob("made-*")]
    # None twice: they were found again by those that took their makers' places.
    assert len({name for _, name, *_ in made}) == len(made) == 12
    assert {index for *_, index, _ in made} == {"0", "1", "2"}
    assert len({pid for *_, pid in made}) > 3
    shown = sharing.project.main("logs", job, "many").out
    assert all(f"many, worker {index}" in shown for index in range(3))
    sharing.project.main("download", job)
    output = sharing.project.folder / ".runs" / "downloads" / job / "shared"
    assert sorted(path.name for path in output.iterdir()) == ["all", "lineage.json"]
