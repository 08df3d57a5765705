"""Checks of the workspace's own settings: datastores, registry, networks, MLflow."""

# decision 86

from collections.abc import Iterator, Mapping
from typing import Any

from tfhub_blocks.control.doctor.checkup import MISSING, OK, WHERE, Row, Subject
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.records.base.http_client import HttpError, opened

_NO_KEYS = "None"


def check_datastores(subject: Subject) -> Iterator[Row]:
    """Yield the credentials of each datastore, and whether the profile's jobs can use them."""
    account = subject.storage["properties"]
    takes_keys = account.get("allowSharedKeyAccess") is not False
    identity = subject.profile.job.identity if subject.profile.job else None
    name = str(subject.storage["name"])
    for datastore, kind in subject.datastores:
        if kind == _NO_KEYS and identity is None:
            fix = (
                f'Set identity = "managed" in [job] of pipelines/profiles/{_profile(subject)}.toml'
            )
            needed = "jobs with an identity, because the datastore has no key"
            yield Row("datastores", datastore, "no key", needed, MISSING, fix)
        elif kind == "AccountKey" and not takes_keys:
            needed = "a datastore without a key, because the storage account refuses keys"
            fix = (
                f"az ml workspace update --name {subject.connection.name} --resource-group "
                f"{subject.client.resource_group_name} --system-datastores-auth-mode identity"
            )
            yield Row("datastores", datastore, f"key of {name}", needed, MISSING, fix)
        else:
            found = "no key, identities" if kind == _NO_KEYS else kind
            yield Row("datastores", datastore, found, "credentials that jobs can use", OK)


def _profile(subject: Subject) -> str:
    return subject.profile.name


def check_registry(subject: Subject) -> Iterator[Row]:
    """Yield how images are pulled: with the registry's admin user, or with identities."""
    registry = subject.registry
    if registry is None:
        found = "none yet; Azure creates it with the first image"
        yield Row("registry", "container registry", found, "a registry or none yet", OK)
        return
    properties, name = registry["properties"], str(registry["name"])
    mode = "admin user" if properties.get("adminUserEnabled") else "identities with AcrPull"
    if properties.get("roleAssignmentMode") == "AbacRepositoryPermissions":
        fix = f"az acr update --name {name} --role-assignment-mode rbac"
        needed = "RBAC of the registry, which AcrPull is for"
        yield Row("registry", name, "RBAC of repositories", needed, MISSING, fix)
        return
    yield Row("registry", name, mode, "admin user, or identities with AcrPull", OK)


def check_networks(subject: Subject) -> Iterator[Row]:
    """Yield for each part of the workspace whether it answers from this network."""
    yield from _network(subject, "workspace", subject.properties, "")
    yield from _network(subject, "storage account", *_storage(subject))
    registry = subject.registry
    if registry is not None:
        host = f"https://{registry['properties']['loginServer']}/v2/"
        yield from _network(subject, "container registry", registry["properties"], host)
    vault = subject.vault["properties"]
    yield from _network(subject, "key vault", vault, str(vault.get("vaultUri") or ""))


def _storage(subject: Subject) -> tuple[Mapping[str, Any], str]:
    properties = dict(subject.storage["properties"])
    rules = properties.get("networkAcls") or {}
    if rules.get("defaultAction") == "Deny" and properties.get("publicNetworkAccess") != "Disabled":
        properties["publicNetworkAccess"] = "SelectedNetworks"
    return properties, f"https://{subject.storage['name']}.blob.core.windows.net/"


def _network(
    subject: Subject, item: str, properties: Mapping[str, Any], address: str
) -> Iterator[Row]:
    access = str(properties.get("publicNetworkAccess") or "Enabled")
    needed = "public access, or a private endpoint that this machine reaches"
    if access == "Enabled":
        yield Row("networks", item, "public access", needed, OK)
        return
    found = {"Disabled": "private endpoints only"}.get(access, "selected networks only")
    # The workspace has answered through Resource Manager, which is public: ask its data plane.
    address = address or _mlflow(subject)
    problem = _unreached(address)
    if not problem:
        yield Row("networks", item, f"{found}, reached from here", needed, OK)
        return
    fix = (
        "Run tfhub-blocks on a machine inside the virtual network, and let clusters use it: "
        "az ml compute update --name CLUSTER --vnet-name VNET --subnet SUBNET"
    )
    yield Row("networks", item, f"{found}; {problem}", needed, MISSING, fix)


def _unreached(address: str) -> str:
    """Return why an address does not answer; an answer that refuses the login is an answer."""
    try:
        with opened(address, {}, 10.0):
            return ""
    except HttpError as error:
        refused_by_network = error.status == 403 and "firewall" in str(error).casefold()
        return str(error) if not error.status or refused_by_network else ""


def check_mlflow(subject: Subject) -> Iterator[Row]:
    """Yield whether the MLflow service of the workspace answers the login."""
    address = f"{_mlflow(subject)}/api/2.0/mlflow/experiments/search"
    with told(WHERE, "the MLflow service"):
        subject.api.post(address, {"max_results": 1})
    yield Row("mlflow", "tracking", "answers", "an answer to a search of experiments", OK)


def _mlflow(subject: Subject) -> str:
    found = str(subject.properties["mlFlowTrackingUri"])
    return found.replace("azureml://", "https://", 1).partition("?")[0]
