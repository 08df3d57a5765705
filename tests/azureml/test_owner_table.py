"""`owners`: each thing that costs or is shared, its owner, and what has none."""

import json

import pytest
from azure.ai.ml.entities import AmlCompute, Environment
from test_deploy_ends import PRICES, day, put_online
from test_reap_schedule import PROFILE


@pytest.fixture
def owned(project, azure):
    """A workspace in which everything has an owner, and ends."""
    project.write("pipelines/prices.toml", PRICES.replace("[regions.westeurope.sizes]", EXTRAS))
    project.write("pipelines/profiles/ops.toml", PROFILE)
    assert project.main("compute", "apply", "--profile", "ops").status == 0
    assert project.main("publish", "reap_endpoints", "make", "--data", "words=src").status == 0
    assert project.main("deploy", "reap", "--install", "--profile", "ops").status == 0
    put_online(azure, "alive", day(2))
    return project


EXTRAS = "load_balancer_day = 0.33\n[regions.westeurope.sizes]"


def things(project, *words):
    outcome = project.main("owners", "--json", *words)
    found = {(it["kind"], it["name"]): it for it in json.loads(outcome.out)["things"]}
    return outcome.status, found


def test_all_that_has_an_owner_is_listed_without_a_finding(owned, golden):
    outcome = owned.main("owners")
    assert outcome.status == 0, outcome.out
    golden("owners", outcome.out.replace(day(2), "DAY+2"))
    status, found = things(owned, "--assets")
    assert status == 0
    assert found["data", "words"]["owner"] == "tester"
    assert found["cluster", "operations"]["per_day"] == pytest.approx(0.33)
    # Two instances at 0.25, day and night.
    assert found["online endpoint", "alive"]["per_day"] == pytest.approx(12.0)


def test_what_has_no_owner_or_no_end_is_a_finding(owned, azure):
    client = azure.client()
    cluster = AmlCompute(name="forgotten", size="Standard_DS3_v2", min_instances=1, max_instances=2)
    client.compute.begin_create_or_update(cluster).result()
    client.environments.create_or_update(Environment(name="bare", version="1", image="x/y:1"))
    put_online(azure, "forever", None)
    put_online(azure, "old", day(-1))
    azure.workspace.get("onlineEndpoints/alive/deployments/m1")["properties"][
        "provisioningState"
    ] = "Failed"
    azure.workspace.get("onlineEndpoints/alive")["properties"]["traffic"] = {}
    azure.workspace.get("schedules/tfhub-blocks-reap")["properties"]["isEnabled"] = False
    status, found = things(owned)
    assert status == 1
    told = {name: it["findings"] for (_, name), it in found.items() if it["findings"]}
    assert told == {
        "forgotten": ["no tag owner", "1 nodes run while no step does"],
        "bare": ["no tag owner"],
        "forever": ["no end date"],
        "old": [f"past its end date {day(-1)}", "no schedule deletes it after its end date"],
        "alive": [
            "failed deployment m1 is billed",
            "no schedule deletes it after its end date",
        ],
    }
    # A node at 0.25, day and night, and a load balancer.
    assert found["cluster", "forgotten"]["per_day"] == pytest.approx(6.33)
    assert "finding: environment bare: no tag owner" in owned.main("owners").out
