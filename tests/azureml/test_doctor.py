"""What ``doctor`` says of a workspace from which one thing is taken away at a time."""

import json

import pytest
from loopback.requests import Fault
from loopback.surroundings import identity_of, size

DIGEST = f"sha256:{'a' * 64}"
PRICES = """
format_version = 1
currency = "USD"
region = "westeurope"
[regions.westeurope]
date = "2026-11-30"
source = "here"
[regions.westeurope.sizes]
Standard_DS3_v2 = { dedicated = 0.3, low_priority = 0.06 }
"""
BUDGET = '[budget]\ncurrency = "USD"\nrun = 5.0\nendpoints = 5.0\n'
BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


@pytest.fixture
def sick(project, azure):
    """A workspace that has all that the profile needs, until a test takes something away."""
    it = azure.workspace.surroundings
    it.registry, it.images["*"] = {"adminUserEnabled": False}, DIGEST
    project.write("pipelines/prices.toml", PRICES)
    profile = project.read("pipelines/profiles/toy.toml")
    project.write("pipelines/profiles/toy.toml", profile + BUDGET)
    # As `compute apply` makes it.
    identity, properties = {"type": "SystemAssigned"}, {"vmSize": "Standard_DS3_v2"}
    cluster = {
        "computeType": "AmlCompute",
        "properties": properties,
        "provisioningState": "Succeeded",
    }
    made = azure.workspace.store(
        "computes/cpu-cluster",
        {"identity": identity, "location": "westeurope", "properties": cluster},
    )
    it.grant_all(made["identity"]["principalId"])
    return project


def rows(project, status=1):
    """What is not in order: check, item, found, state, fix."""
    outcome = project.main("doctor", "--profile", "toy", "--json", anew=False)
    assert outcome.status == status, outcome
    found = json.loads(outcome.out)["rows"]
    assert len(found) > 15
    return [row for row in found if row["state"] != "ok"]


def only(project, **expected):
    """The one row that is not in order; its fields contain these texts."""
    [row] = rows(project)
    for key, text in expected.items():
        assert text in row[key], (key, row)
    return row


def test_workspace_that_has_everything_is_told_in_one_table(sick, golden):
    outcome = sick.main("doctor", "--profile", "toy")
    assert outcome.status == 0, outcome
    golden("doctor", sick.normal(outcome.out))


def test_nothing_is_written(sick, azure):
    rows(sick, 0)
    methods = {(r.method, r.path.rpartition("/")[2]) for r in azure.recorder.requests}
    assert {m for m in methods if m[0] not in ("GET", "HEAD")} == {("POST", "search")}


@pytest.mark.parametrize(
    ("role", "action", "command", "granting"),
    [
        ("AzureML Data Scientist", "computes/write", "compute apply", "AzureML Compute Operator"),
        ("AzureML Compute Operator", "jobs/write", "submit", "AzureML Data Scientist"),
    ],
)
def test_command_that_lacks_an_action_is_told_with_the_role(
    sick, azure, role, action, command, granting
):
    from tfhub_blocks.control.workspace.azure_roles import ROLES

    [given] = [it.permissions for it in ROLES if it.name == role]
    # What doctor reads is another role's, such as Reader's.
    azure.workspace.surroundings.permissions = [*given, {"actions": ["*/read"]}]
    found = {row["item"]: row for row in rows(sick)}
    assert action in found[command]["found"]
    assert f'--role "{granting}"' in found[command]["fix"]
    assert found[command]["fix"].endswith(f"--scope {azure.workspace.id}")
    assert {row["check"] for row in found.values()} == {"permissions"}


def test_storage_without_keys_needs_roles_on_the_data(sick, azure):
    azure.workspace.surroundings.permissions = [{"actions": ["*"], "dataActions": []}]
    for name in ("workspaceblobstore", "workspaceartifactstore"):
        store = azure.workspace.get(f"datastores/{name}")["properties"]
        store["credentials"] = {"credentialsType": "None"}
    found = rows(sick)
    commands = {row["item"]: row["fix"] for row in found if row["check"] == "permissions"}
    assert '--role "Storage Blob Data Contributor"' in commands["submit"]
    assert '--role "Storage Blob Data Reader"' in commands["download"]
    assert "/storageAccounts/" in commands["submit"]
    # Jobs have no identity in this profile, and no key.
    stores = [row for row in found if row["check"] == "datastores"]
    assert [row["found"] for row in stores] == ["no key", "no key"]
    assert 'identity = "managed"' in stores[0]["fix"]


@pytest.mark.parametrize(
    ("lacking", "who", "needed"),
    [
        ("AcrPull", "cluster cpu-cluster", "AcrPull on container registry loopback"),
        ("Storage Blob Data Contributor", "cluster cpu-cluster", "on storage account"),
        ("AcrPush", "workspace", "AcrPush on container registry loopback"),
        ("Key Vault Secrets User", "workspace", "Key Vault Secrets User on the key vault"),
        ("Storage Blob Data Reader", "endpoint asked", "Storage Blob Data Reader on storage"),
    ],
)
def test_identity_that_lacks_a_role_is_told(sick, azure, lacking, who, needed):
    it, profile = azure.workspace.surroundings, sick.read("pipelines/profiles/toy.toml")
    managed = profile.replace("[job]", '[job]\nidentity = "managed"')
    sick.write("pipelines/profiles/toy.toml", managed)
    endpoint = {"authMode": "AADToken", "provisioningState": "Succeeded"}
    azure.workspace.store(
        "onlineEndpoints/asked",
        {"identity": {"type": "SystemAssigned"}, "location": "westeurope", "properties": endpoint},
    )
    cluster = identity_of(f"{azure.workspace.id}/computes/cpu-cluster")
    asked = identity_of(f"{azure.workspace.id}/onlineEndpoints/asked")
    it.grant_all(cluster, asked)
    everybody = {"workspace": next(iter(it.roles)), "cluster cpu-cluster": cluster}
    principal = everybody.get(who, asked)
    it.roles[principal] = [
        role for role in it.roles[principal] if role not in (lacking, _stronger(lacking))
    ]
    found = only(sick, check="identities", item=who, needed=needed, found="not Microsoft.")
    assert f'--role "{lacking}" --assignee {principal} --scope /subscriptions/' in found["fix"]


def _stronger(role):
    pairs = {"AcrPull": "AcrPush", "Storage Blob Data Reader": "Storage Blob Data Contributor"}
    return pairs.get(role, "")


def test_vault_with_access_policies_is_read_by_policy(sick, azure):
    it = azure.workspace.surroundings
    workspace = next(iter(it.roles))
    it.roles[workspace].remove("Key Vault Secrets User")
    policy = {"objectId": workspace, "permissions": {"secrets": ["Get"]}}
    it.vault |= {"enableRbacAuthorization": False, "accessPolicies": [policy]}
    assert rows(sick, 0) == []


def test_cluster_that_is_not_there_is_told(sick, azure):
    del azure.workspace.resources["computes/cpu-cluster"]
    only(sick, item="cpu-cluster", fix="tfhub-blocks compute apply --profile toy")


def test_cluster_without_an_identity_is_told(sick, azure):
    del azure.workspace.get("computes/cpu-cluster")["identity"]
    only(sick, check="identities", item="cluster cpu-cluster", found="no identity")


def take(name):
    return lambda it: it.sizes.remove(next(s for s in it.sizes if s["name"] == name))


def limit(name, most):
    def change(it):
        next(u for u in it.usages if u["name"]["value"].startswith(name))["limit"] = most

    return change


def replace_size(**changes):
    def change(it):
        it.sizes[0] = size("Standard_DS3_v2", "standardDSv2Family", 4) | changes

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            limit("Standard DSv2 Family Cluster Dedicated", 7),
            {"check": "quota", "found": "7 vCPUs"},
        ),
        (limit("Total Cluster Dedicated", 4), {"check": "quota", "needed": "8 vCPUs: Total"}),
        (
            replace_size(supportedComputeTypes=["AmlCompute"]),
            {"check": "endpoint sizes", "fix": "check_latency on another size"},
        ),
        (
            replace_size(supportedComputeTypes=["MIR"]),
            {"check": "sizes", "found": "only for MIR", "fix": "clusters.cpu-cluster.size"},
        ),
        (lambda it: it.prices.clear(), {"check": "prices", "found": "", "fix": ""}),
        (
            lambda it: it.images.clear(),
            {"check": "base images", "found": "404", "fix": "Dockerfile"},
        ),
        (
            lambda it: it.registry.update(roleAssignmentMode="AbacRepositoryPermissions"),
            {"check": "registry", "fix": "--role-assignment-mode rbac"},
        ),
        (
            lambda it: it.storage.update(allowSharedKeyAccess=False),
            {"check": "datastores", "fix": "--system-datastores-auth-mode identity"},
        ),
    ],
)
def test_what_is_missing_is_told_with_its_fix(sick, azure, change, expected):
    change(azure.workspace.surroundings)
    found = rows(sick)
    # The quota of clusters is that of endpoints, too.
    assert {row["check"] for row in found} - {"endpoint quota"} == {expected["check"]}
    for key, text in expected.items():
        assert text in found[0][key], (key, found[0])
    assert all(row["fix"] for row in found)


def test_low_priority_that_a_size_does_not_have_is_told(sick, azure):
    profile = sick.read("pipelines/profiles/toy.toml")
    changed = profile.replace("max_nodes = 2", "max_nodes = 2\nlow_priority = true")
    sick.write("pipelines/profiles/toy.toml", changed)
    assert rows(sick, 0) == []
    replace_size(lowPriorityCapable=False)(azure.workspace.surroundings)
    only(sick, check="sizes", found="dedicated only", fix="low_priority = false")


def test_size_that_the_region_does_not_have_is_told(sick, azure):
    take("Standard_DS3_v2")(azure.workspace.surroundings)
    found = rows(sick)
    assert [row["check"] for row in found] == ["sizes", "endpoint sizes"]
    assert "not offered in westeurope" in found[0]["found"]


@pytest.mark.parametrize("part", ["storage", "vault", "registry"])
def test_private_network_that_is_not_reached_is_told(sick, azure, part):
    it = azure.workspace.surroundings
    getattr(it, part)["publicNetworkAccess"] = "Disabled"
    if part == "storage":  # it answers here, as from inside the network
        assert rows(sick, 0) == []
        return
    only(sick, check="networks", found="private endpoints only; ", fix="virtual network")
    azure.guard.take_refused()


def test_serverless_without_client_id_is_told(sick):
    profile = sick.read("pipelines/profiles/toy.toml")
    changed = profile.replace(
        'compute = "cpu-cluster"', 'compute = "serverless"\nsize = "Standard_DS3_v2"'
    )
    changed = changed.replace("[job]", '[job]\nidentity = "managed"')
    sick.write("pipelines/profiles/toy.toml", changed)
    only(sick, item="serverless", found="no client_id", fix="az identity list")


def test_login_of_another_tenant_is_told_and_nothing_else(sick, azure):
    azure.workspace.settings["tenantId"] = "11111111-0000-4000-8000-000000000001"
    only(sick, check="login", fix="az login --tenant 11111111")
    azure.recorder.inject(Fault.WRONG_TENANT)
    outcome = sick.main("doctor", "--profile", "toy", "--json")
    [row] = json.loads(outcome.out)["rows"]
    assert (outcome.status, row["state"]) == (1, "unknown")
    assert "another tenant" in row["found"]


@pytest.mark.parametrize(
    ("action", "check", "role"),
    [
        ("Microsoft.Authorization/permissions/read", "permissions", "Reader"),
        ("Microsoft.MachineLearningServices/locations/usages/read", "sizes", "Reader"),
        ("Microsoft.Storage/storageAccounts/read", "datastores", "Reader"),
    ],
)
def test_what_may_not_be_read_is_told_and_the_rest_goes_on(sick, azure, action, check, role):
    azure.workspace.surroundings.permissions = [
        {"actions": ["*"], "notActions": [action], "dataActions": ["*"]}
    ]
    found = [row for row in rows(sick) if row["state"] == "unknown"]
    assert check in {row["check"] for row in found}
    assert action in found[0]["found"]
    assert f'--role "{role}"' in found[0]["fix"]
