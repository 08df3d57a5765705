"""Where each rule of the loopback is from: a document, a fact of ``doctor --live``, or nowhere.

Each function of rules.py, and each behaviour that docs/testing-azure.md promises, is one entry.
``FACT`` begins the name of a fact that ``doctor --live`` asks a workspace for; ``ASSUMED`` is a
belief that neither a document nor a workspace has confirmed.
"""

from dataclasses import dataclass

LEARN = "https://learn.microsoft.com/azure"
_ML = f"{LEARN}/machine-learning"
SPECS = "https://github.com/Azure/azure-rest-api-specs, Microsoft.MachineLearningServices"
FACT, ASSUMED = "asked by doctor --live: ", "assumed"


@dataclass(frozen=True)
class Source:
    """A rule, in words, and where it is from."""

    rule: str
    source: str

    @property
    def is_assumed(self) -> bool:
        return self.source.startswith(ASSUMED)


# By the functions of rules.py.
RULES: dict[str, Source] = {
    "_unknown_ids": Source(
        "ids of resources in a body exist", f"{ASSUMED}: Azure answers 400 or 404 by the kind of id"
    ),
    "_environment": Source(
        "an environment has an image or a build context, whose address ends in a slash",
        "azure-ai-ml's source: 'EMS requires it to be present'",
    ),
    "_blobs": Source(
        "blobs that an asset names are in storage",
        f"{ASSUMED}: Azure checks some when an asset is made, and others when a job reads them",
    ),
    "_data": Source("a uri_file is one blob", f"{_ML}/how-to-create-data-assets"),
    "_model": Source("a model's files are in storage", f"{_ML}/how-to-manage-models"),
    "_code": Source("code carries its SHA-256", "azure-ai-ml's source: hash_sha256 of a snapshot"),
    "_component": Source(
        "a component has a name, a version and a type", f"{_ML}/reference-yaml-component-command"
    ),
    "_input_port": Source(
        "ports have known types and free names", f"{_ML}/reference-yaml-component-command"
    ),
    "_command": Source(
        "a command names declared ports alone", f"{_ML}/reference-yaml-component-command"
    ),
    "_literal": Source(
        "values have the declared type, range and choice",
        f"{ASSUMED}: azure-ai-ml does not check them, and Azure's own check is not documented",
    ),
    "_job": Source("jobs of pipelines have checked nodes", f"{_ML}/reference-yaml-job-pipeline"),
    "_Pipeline": Source(
        "nodes have compute, inputs, bindings that fit, and no circle",
        f"{_ML}/reference-yaml-job-pipeline",
    ),
    "_fits": Source(
        "a folder is taken for a model, and a model for a folder",
        f"{FACT}training",
    ),
    "_instances": Source(
        "instances have a distribution, and are no more than the cluster's nodes",
        f"{_ML}/how-to-train-distributed-gpu",
    ),
    "_limits": Source("a timeout is an ISO 8601 duration", SPECS),
    "_schedule": Source(
        "a cron expression has five fields, and days of the month and months are ignored",
        f"{_ML}/how-to-schedule-pipeline-job",
    ),
    "_compute": Source("a size that cannot be had is refused", f"{_ML}/how-to-manage-quotas"),
    "_endpoint": Source("names of endpoints", f"{_ML}/reference-yaml-endpoint-online"),
    "_traffic": Source(
        "traffic is 0 or 100 percent together, and one deployment without any gets mirrored "
        "requests, 50 percent at most",
        f"{_ML}/how-to-safely-rollout-online-endpoints",
    ),
    "_online_deployment": Source(
        "a deployment has a model, code and a size, and its request takes three minutes at most",
        f"{_ML}/reference-yaml-deployment-managed-online",
    ),
    "_batch_deployment": Source(
        "a pipeline component is deployed", f"{_ML}/how-to-use-batch-pipeline-deployments"
    ),
}
# By the words of docs/testing-azure.md.
BEHAVIOUR: dict[str, Source] = {
    "versions": Source(
        "versions of assets are immutable but for tags and archiving", f"{_ML}/concept-data"
    ),
    "code-hash": Source(
        "a code look-up by hash spans all names", f"{ASSUMED}: seen in a recording of the SDK"
    ),
    "upload-container": Source(
        "each upload of code has a container of its own",
        f"{ASSUMED}: seen in a recording of the SDK",
    ),
    "polling": Source("clusters, schedules and cancelling take several polls", SPECS),
    "schedule-delete": Source(
        "an enabled schedule is not deleted", f"{_ML}/how-to-schedule-pipeline-job"
    ),
    "schedule-job-name": Source(
        "a fired job is named SCHEDULE-YYYYMMDDThhmmssZ", f"{FACT}schedule.job_name"
    ),
    "endpoint-delete": Source(
        "an endpoint goes with its deployments", f"{_ML}/how-to-deploy-online-endpoints"
    ),
    "late-reads": Source(
        "reads can miss a new resource",
        f"{LEARN}/azure-resource-manager/troubleshooting/error-not-found",
    ),
    "throttling": Source(
        "a throttled request is 429 with Retry-After",
        f"{LEARN}/azure-resource-manager/management/request-limits-and-throttling",
    ),
    "etag": Source("a change of an older state is 412", f"{ASSUMED}: the SDK sends no ETag"),
    "tokens": Source(
        "a token that expires is 401",
        f"{LEARN}/azure-resource-manager/management/azure-services-resource-providers",
    ),
    "actions": Source(
        "a request without the permission is 403 AuthorizationFailed, with the action",
        f"{LEARN}/role-based-access-control/troubleshooting",
    ),
    "wildcards": Source(
        "a/*/b in a role is also a/b",
        f"{ASSUMED}: else the role AzureML Data Scientist would permit what its text excepts",
    ),
    "sizes": Source(
        "MIR among the kinds of a size are managed online endpoints",
        f"{SPECS}, VirtualMachineSize_List's example",
    ),
    "quota": Source(
        "quota of a family is named after it, and -1 is none of its own",
        f"{SPECS}, Usages_List's example",
    ),
    "role-assignments": Source(
        "assignments of groups are listed by assignedTo",
        f"{LEARN}/role-based-access-control/role-assignments-list-rest",
    ),
    "step-variables": Source("variables of a step's environment", f"{FACT}probe.environment"),
    "step-cancel": Source(
        "a cancelled step gets SIGTERM, and SIGKILL later", f"{FACT}cancel.signal"
    ),
    "lost-node": Source(
        "a lost node gets SIGTERM, and its step begins again with the same outputs",
        f"{ASSUMED}: no test can take a node away from Azure",
    ),
    "mlflow-calls": Source("MLflow calls that Azure serves", f"{FACT}probe.mlflow"),
    "run-token": Source(
        "a job's token is taken by the data plane alone", f"{ASSUMED}: no document names it"
    ),
    "mount": Source(
        "free space, renames and links of an output's mount",
        f"Microsoft's data runtime azureml-dataprep-rslex, in tests/mounts; {FACT}probe.mount",
    ),
    "two-mounts": Source(
        "what one node sees of another's changes",
        f"Microsoft's data runtime, in tests/mounts; {FACT}two-nodes",
    ),
    "scoring": Source(
        "an endpoint answers /score with a token of the workspace", f"{FACT}endpoint.answer"
    ),
}


def assumed() -> list[str]:
    """The names of what is assumed."""
    everything = {**RULES, **BEHAVIOUR}
    return sorted(name for name, it in everything.items() if it.is_assumed)


def facts() -> list[str]:
    """The facts of ``doctor --live`` that are cited."""
    everything = (*RULES.values(), *BEHAVIOUR.values())
    return sorted(it.source.partition(FACT)[2] for it in everything if FACT in it.source)


def table() -> str:
    """All entries as a table of Markdown: what is assumed comes first."""
    everything = [*RULES.values(), *BEHAVIOUR.values()]
    lines = ["| rule | source |", "|---|---|"]
    for it in sorted(everything, key=lambda it: not it.is_assumed):
        lines.append(f"| {it.rule} | {it.source} |")
    return "\n".join(lines)
