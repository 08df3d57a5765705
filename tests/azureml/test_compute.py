"""Clusters whose nodes exist only while a step runs."""

import pytest
from azure.ai.ml.entities import AmlCompute
from loopback.requests import Fault


def test_cluster_is_made_as_the_profile_says(project, azure):
    outcome = project.main("compute", "apply", "--profile", "toy")
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert lines[0].endswith("dedicated, released after 120 s: created")
    it = azure.workspace.get("computes/cpu-cluster")
    assert it["identity"]["type"] == "SystemAssigned"
    identity = it["identity"]["principalId"]
    assert lines[1:] == [
        f"  identity {identity}",
        "  its steps need no grant: the datastores have keys",
    ]
    assert it["tags"] == {"owner": "tester", "cost_centre": "toys"}
    made = it["properties"]["properties"]
    assert made["scaleSettings"] == {
        "maxNodeCount": 2,
        "minNodeCount": 0,
        "nodeIdleTimeBeforeScaleDown": "PT2M",
    }
    assert made["vmSize"] == "Standard_DS3_v2"
    assert made["vmPriority"] == "Dedicated"
    assert made["remoteLoginPortPublicAccess"] == "Disabled"


def test_grants_that_a_cluster_needs_are_printed(project, azure):
    azure.workspace.surroundings.registry = {"adminUserEnabled": False}
    edit_profile(project, "[job]", '[job]\nidentity = "managed"')
    outcome = project.main("compute", "apply", "--profile", "toy")
    identity = azure.workspace.get("computes/cpu-cluster")["identity"]["principalId"]
    storage = azure.workspace.document()["properties"]["storageAccount"]
    grant = f"az role assignment create --role %s --assignee {identity} --scope %s"
    assert outcome.out.splitlines()[1:] == [
        f"  identity {identity}",
        "  needs Storage Blob Data Contributor on storage account loopbackstore",
        "    " + grant % ('"Storage Blob Data Contributor"', storage),
        "  needs AcrPull on container registry loopback",
        "    " + grant % ('"AcrPull"', azure.workspace.registry_id),
    ]


def test_apply_again_only_reads_and_changes_only_what_differs(project, azure):
    project.main("compute", "apply", "--profile", "toy")
    azure.recorder.clear()
    outcome = project.main("compute", "apply", "--profile", "toy")
    assert outcome.out.splitlines()[0].endswith(": up to date")
    assert {r.method for r in azure.recorder.requests} == {"GET"}
    edit_profile(project, "max_nodes = 2", "max_nodes = 3")
    changed = project.main("compute", "apply", "--profile", "toy").out
    assert changed.splitlines()[0].endswith(": changed")
    scale = azure.workspace.get("computes/cpu-cluster")["properties"]["properties"]["scaleSettings"]
    assert scale["maxNodeCount"] == 3


def edit_profile(project, old, new):
    text = project.read("pipelines/profiles/toy.toml")
    assert old in text
    project.write("pipelines/profiles/toy.toml", text.replace(old, new))


@pytest.mark.parametrize(("profile", "clusters"), [("experiment", 2), ("production", 3)])
def test_clusters_of_our_own_profiles_can_be_made(project, azure, monkeypatch, profile, clusters):
    monkeypatch.setenv("BLOCKS_OWNER", "someone")
    monkeypatch.setenv("BLOCKS_COST_CENTRE", "products")
    assert project.main("compute", "apply", "--profile", profile).status == 0
    assert len(azure.workspace.versions("computes")) == clusters


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("min_nodes = 1", "clusters.cpu-cluster.min_nodes] min_nodes is 1. Expected 0"),
        ("idle_s = 7200", "clusters.cpu-cluster.idle_s] idle_s is 7200. Expected 1 to 1800"),
    ],
)
def test_what_would_stay_up_is_refused_before_anything_is_sent(project, azure, line, message):
    edit_profile(project, "max_nodes = 2", f"max_nodes = 2\n{line}")
    outcome = project.main("compute", "apply", "--profile", "toy")
    assert outcome.status == 2
    assert message in outcome.err
    assert azure.recorder.requests == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"size": "Standard_NC6"},
            "size of cluster cpu-cluster is standard_nc6, which Azure cannot",
        ),
        ({"tier": "low_priority"}, "priority of cluster cpu-cluster is low_priority, which Azure"),
        (
            {"ssh_public_access_enabled": True},
            "ssh of cluster cpu-cluster is open, which Azure cannot",
        ),
    ],
)
def test_cluster_that_cannot_become_what_is_asked_for_is_told(project, azure, other, message):
    there = {"size": "Standard_DS3_v2", "ssh_public_access_enabled": False} | other
    cluster = AmlCompute(name="cpu-cluster", **there)
    azure.client().compute.begin_create_or_update(cluster).result()
    outcome = project.main("compute", "apply", "--profile", "toy")
    assert outcome.status == 2
    assert message in outcome.err
    assert "az ml compute delete --name cpu-cluster" in outcome.err


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.FORBIDDEN])
def test_any_request_may_fail_and_the_cluster_is_there_once(project, azure, quick_retries, fault):
    project.main("compute", "apply", "--profile", "toy")
    for index in range(len(azure.recorder.requests)):
        azure.reset_content()
        azure.recorder.inject(fault, at=index)
        project.main("compute", "apply", "--profile", "toy")
        assert azure.recorder.faults == {}, index
        assert project.main("compute", "apply", "--profile", "toy").status == 0, index
        [cluster] = azure.workspace.versions("computes")
        assert cluster["properties"]["properties"]["scaleSettings"]["maxNodeCount"] == 2


def test_profile_without_clusters_is_told(project):
    outcome = project.main("compute", "apply", "--profile", "local")
    assert outcome.status == 2
    assert "profile local defines no cluster" in outcome.err
