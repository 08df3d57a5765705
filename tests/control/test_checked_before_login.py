"""Bad requests to Azure ML where nobody is logged in: each is told before anything is asked for."""

import json
import socket
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential

TOY = ("submit", "toy", "--set", "source=src")
# The command, and what its message is about.
BAD = {
    "unknown pipeline": (("submit", "tou"), "'tou'"),
    "unknown profile": ((*TOY, "--profile", "experimant"), "'experimant'"),
    "local profile": ((*TOY, "--profile", "local"), "local"),
    "unknown input": ((*TOY, "--set", "colour=red"), "'colour'"),
    "missing input": (("submit", "toy"), "source"),
    "missing file": (("submit", "toy", "--set", "source=nowhere"), "nowhere"),
    "bad choice": ((*TOY, "--set", "text=c"), "'c'"),
    "bad number": ((*TOY, "--set", "count=many"), "many"),
    "threshold out of range": ((*TOY, "--set", "rate=1.5"), "1.5"),
    "half a setting": (("submit", "toy", "--set", "source"), "source"),
    "unknown output": ((*TOY, "--register", "joint=x"), "'joint'"),
    "half a registration": ((*TOY, "--register", "joined"), "joined"),
    "setting of a release": (("submit", "pipelines/releases/x.lock.toml"), "x.lock.toml"),
    "clusters of no profile": (("compute", "apply", "--profile", "nope"), "nope"),
    "no clusters": (("compute", "apply", "--profile", "local"), "local"),
    "unknown asset": (("publish", "mark"), "'mark'"),
    "publish for no profile": (("publish", "--profile", "nope"), "nope"),
    "data that is nowhere": (("publish", "--data", "x=nowhere"), "nowhere"),
    "encoder that is nowhere": (("publish", "--encoder", "nowhere"), "nowhere"),
    "date that is past": (
        ("deploy", "online", "m", "--until", "2020-01-01"),
        "2020-01-01 is in the past",
    ),
    "date that is none": (("deploy", "online", "m", "--until", "soon"), "soon"),
    "share of traffic": (
        ("deploy", "online", "m", "--traffic", "101", "--until", "DAY"),
        "--traffic 101",
    ),
    "number of machines": (
        ("deploy", "online", "m", "--instances", "0", "--until", "DAY"),
        "--instances 0",
    ),
    "name of an endpoint": (
        ("deploy", "batch", "toy", "--name", "a_b!", "--until", "DAY"),
        "a_b!",
    ),
    "batch of no pipeline": (("deploy", "batch", "tou", "--until", "DAY"), "'tou'"),
    "batch with a bad setting": (
        ("deploy", "batch", "toy", "--set", "rate=9", "--until", "DAY"),
        "9",
    ),
    "no reason": (
        ("promote", "m:1", "--to", "experiment", "--reason", " "),
        "--reason",
    ),
    "no model": (("promote", "m:1", "--to", "experiment", "--reason", "good"), "m:1"),
    "no such profile": (("promote", "m:1", "--to", "nope", "--reason", "good"), "nope"),
    "unknown schedule": (("schedule", "apply", "nightly"), "nightly"),
    "month": (("cost", "history", "--since", "May", "--collect"), "May"),
    "run of a release": (("lock", "toy", "--name", "x", "--from-run", "toy-1970"), "lock"),
}


@pytest.fixture
def offline(project, monkeypatch):
    """No network, nobody logged in, and a workspace's config.json."""

    def refuse(*_, **__):
        raise ClientAuthenticationError("nobody is logged in")

    def no_network(*_, **__):
        raise OSError(101, "Network is unreachable")

    for name in ("get_token", "get_token_info"):
        monkeypatch.setattr(DefaultAzureCredential, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setenv("BLOCKS_OWNER", "me")
    monkeypatch.setenv("BLOCKS_COST_CENTRE", "us")
    names = ("subscription_id", "resource_group", "workspace_name")
    project.write("config.json", json.dumps(dict.fromkeys(names, "x")))
    project.day = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    return project


@pytest.mark.parametrize("kind", BAD)
def test_bad_request_is_told_before_the_login(offline, kind):
    words, about = BAD[kind]
    outcome = offline.main(*(word.replace("DAY", offline.day) for word in words))
    assert outcome.status != 0
    told = outcome.err.splitlines()[-1]
    assert about in told, outcome.err
    assert not any(word in outcome.err for word in ("logged in", "az login", "unreachable"))


def test_good_request_needs_the_login(offline):
    outcome = offline.main(*TOY)
    assert outcome.status == 2
    assert "log" in outcome.err
