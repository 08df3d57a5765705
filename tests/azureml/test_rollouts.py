"""`deploy online --requests` on loopback: checked steps, a return, interruptions, both paid for."""

import json
import os
import re
import shutil
import signal

import mlflow
import pytest
from measured_models import (
    RUNTIME,
    write_model,
)

from tfhub_blocks.control.deployments import rollouts
from tfhub_blocks.control.deployments.rollouts import ROLLOUT_TAG

LIMITS = "[deployments.rollout]\nstep_s = 0\nmin_requests = 4\nmax_slowdown = 1000.0\n"


class Labels:
    """What serves a deployment here: a label for each item; ``then`` is called before."""

    def __init__(self, *labels):
        self.labels, self.then = labels, lambda: None

    def __call__(self, body):
        self.then()
        items = json.loads(body)["inputs"]
        return 200, {"predictions": [{"label": self.labels[it % len(self.labels)]} for it in items]}


@pytest.fixture
def rolled(served, azure, registry, project, tmp_path):
    """``rolled()`` rolls out a second model of an endpoint; ``old`` and ``new`` serve."""
    profile = project.read("pipelines/profiles/toy.toml")
    project.write("pipelines/profiles/toy.toml", profile + LIMITS)
    runs = tmp_path / "runs"
    shutil.copytree(registry, runs)
    client = mlflow.MlflowClient(*[f"sqlite:///{runs}/mlflow.db"] * 2)
    digest = write_model(runs / "better", "realtime", RUNTIME)
    tags = {"model_digest": digest, "latency_digest": "1" * 64}
    named = {f"tfhub_blocks.{key}": value for key, value in tags.items()}
    client.create_model_version("animals", str(runs / "better"), tags=named)
    (tmp_path / "requests").write_text("".join(f'{{"inputs": [{n}, 1]}}\n' for n in range(4)))
    assert served("animals:1", "--name", "shared").status == 0
    azure.recorder.clear()
    [first] = [it["name"] for it in azure.workspace.deployments("onlineEndpoints", "shared")]
    common = ("--name", "shared", "--runs-dir", str(runs))

    def roll(*words, requests=True):
        given = ("--requests", str(tmp_path / "requests")) if requests else ()
        return served("animals:2", *common, *given, *words)

    roll.first, roll.second = first, f"m{digest[:11]}"
    roll.old, roll.new = Labels("cat", "dog"), Labels("cat", "dog")
    azure.workspace.surroundings.serving = {roll.first: roll.old, roll.second: roll.new}

    def shares():
        return {
            {first: "old", roll.second: "new"}[name]: share
            for name, share in traffic(azure)["traffic"].items()
        }

    roll.shares = shares
    return roll


def traffic(azure):
    [endpoint] = azure.workspace.endpoints("onlineEndpoints")
    return endpoint["properties"] | {"tags": endpoint["tags"]}


def history(azure, rolled):
    """The shares of the new deployment in each change, with a star where they were mirrored."""
    puts = [
        json.loads(it.content)["properties"]
        for it in azure.recorder.requests
        if it.method == "PUT" and it.path.endswith("/onlineEndpoints/shared")
    ]
    return [
        f"{it['mirrorTraffic'][rolled.second]}*"
        if it.get("mirrorTraffic")
        else str((it.get("traffic") or {}).get(rolled.second, 0))
        for it in puts
    ]


def test_traffic_moves_in_checked_steps(rolled, azure, golden):
    outcome = rolled()
    assert outcome.status == 0, outcome.err
    # The last change takes the state of the rollout away.
    assert history(azure, rolled) == ["50*", "5", "25", "100", "100"]
    assert rolled.shares() == {"new": 100}
    assert ROLLOUT_TAG not in traffic(azure)["tags"]
    assert traffic(azure)["mirrorTraffic"] == {}
    # Both are asked at each step, and both count in the ceiling.
    asked = azure.workspace.surroundings.served
    assert (asked.count(rolled.first), asked.count(rolled.second)) == (16, 16)
    assert "at 0.5000" in outcome.out
    text = outcome.out.replace(rolled.first, "OLD").replace(rolled.second, "NEW")
    told = text[text.index("  traffic:") : text.index("  note:")]
    golden("deploy_online_rollout", re.sub(r"\d+ ms", "N ms", told))
    azure.recorder.clear()
    assert rolled().status == 0
    assert history(azure, rolled) == []


@pytest.mark.parametrize(
    "share",
    [pytest.param(0, marks=pytest.mark.slow), 25, pytest.param(100, marks=pytest.mark.slow)],
)
def test_failed_check_gives_all_traffic_back_and_says_why(rolled, azure, share):
    def spoil():
        if traffic(azure)["traffic"].get(rolled.second, 0) == share:
            rolled.new.labels = ("dog", "cat")

    rolled.new.then = spoil
    outcome = rolled()
    assert outcome.status == 2
    at = f"{share} %" if share else "50 % mirrored"
    assert (
        f"deployment {rolled.second} failed at {at}: 0.0% of the predictions agree" in outcome.err
    )
    assert f"{rolled.first} answers all requests again" in outcome.err
    assert rolled.shares() == {"old": 100}
    assert traffic(azure)["mirrorTraffic"] == {}
    assert ROLLOUT_TAG not in traffic(azure)["tags"]


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_interruption_leaves_the_share_that_passed_and_a_repeated_call_continues(
    rolled, azure, number
):
    def interrupt():
        if traffic(azure)["traffic"].get(rolled.second, 0) == 25:
            rolled.new.then = lambda: None
            os.kill(os.getpid(), number)

    rolled.new.then = interrupt
    outcome = rolled()
    assert outcome.status == 130
    assert f"interrupted: {rolled.second} has 5 %" in outcome.out
    assert rolled.shares() == {"old": 95, "new": 5}
    azure.recorder.clear()
    # A call without requests changes nothing.
    assert rolled(requests=False).status == 0
    assert history(azure, rolled) == []
    assert rolled().status == 0
    assert history(azure, rolled) == ["25", "100", "100"]


def test_kill_leaves_the_share_in_progress_which_a_repeated_call_checks(rolled, azure, monkeypatch):
    class Killed(BaseException):
        """Stands for an end after which nothing runs."""

    def end(found, pairs):
        if traffic(azure)["traffic"].get(rolled.second, 0) == 25:
            raise Killed
        return rollouts_compare(found, pairs)

    rollouts_compare = rollouts.compare
    with monkeypatch.context() as patched:
        patched.setattr(rollouts, "compare", end)
        with pytest.raises(Killed):
            rolled()
    assert rolled.shares() == {"old": 75, "new": 25}
    rolled.new.labels = ("dog", "cat")
    assert rolled().status == 2  # the step in progress was not taken for one that passed
    assert rolled.shares() == {"old": 100}


def test_part_of_the_traffic_and_less_of_it(rolled, azure):
    assert rolled("--traffic", "10").status == 0
    assert history(azure, rolled) == ["50*", "5", "10", "10"]
    azure.recorder.clear()
    assert rolled("--traffic", "4").status == 0  # less needs no check
    assert history(azure, rolled) == ["4"]


def test_production_moves_traffic_only_in_checked_steps(rolled, azure, monkeypatch):
    from tfhub_blocks.control.deployments import online_endpoints

    seen = online_endpoints._check_share

    def as_production(request, found):
        object.__setattr__(request.profile, "takes", "locks")
        seen(request, found)

    monkeypatch.setattr(online_endpoints, "_check_share", as_production)
    outcome = rolled("--traffic", "100", requests=False)
    assert outcome.status == 2
    assert (
        "--traffic] profile toy moves traffic from one deployment to another only in" in outcome.err
    )
    assert rolled.shares() == {"old": 100}
