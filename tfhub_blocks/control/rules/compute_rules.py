"""What compute has to be, so that it costs nothing while no step runs."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.environments.environment_catalog import CUDA
from tfhub_blocks.control.project.clusters import would_stay_up
from tfhub_blocks.control.project.profiles import SERVERLESS
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject

_GPU_SIZE = re.compile(r"Standard_N[A-Z]", re.I)
_KEEPS_WORK = re.compile(r"(^|\.)run\.work$")


@rule(
    "compute-scale",
    demand="a cluster has no node while no step runs",
    why="a node that stays costs as much at night as by day",
)
def compute_scale(subject: Subject) -> Iterator[Finding]:
    """Neither a least number of nodes nor a greatest of none."""
    return _stays_up(subject, {"min_nodes", "max_nodes"})


@rule(
    "compute-idle",
    demand="a node without work is gone within half an hour",
    why="a node that idles longer is paid for more than it is waited for",
)
def compute_idle(subject: Subject) -> Iterator[Finding]:
    """``idle_s`` of each cluster."""
    return _stays_up(subject, {"idle_s"})


def _stays_up(subject: Subject, keys: set[str]) -> Iterator[Finding]:
    for name, cluster in subject.clusters().items() if subject.is_remote else ():
        for key, problem, expected in would_stay_up(cluster) if cluster else ():
            if key in keys:
                yield subject.at_profile(f"clusters.{name}.{key}", problem, f"set {expected}")


@rule(
    "compute-timeout",
    demand="each node has a time limit, and none beyond that of its role",
    why="a step that hangs is paid for until somebody looks",
)
def compute_timeout(subject: Subject) -> Iterator[Finding]:
    """The profile's, which a pipeline may make shorter."""
    for node in subject.nodes:
        role = subject.role(node)
        if role is None:
            yield subject.at_node(
                node,
                f"{subject.profile.name} has no role {node.role!r}, so it has no time limit",
                f"add [roles.{node.role}] with compute and timeout_s",
            )
        elif (node.timeout_s or 0) > role.timeout_s:
            yield subject.at_node(
                node,
                f"its limit is {node.timeout_s} s, and that of role {node.role} {role.timeout_s} s",
                "take it out of the pipeline, or raise that of the role",
            )


@rule(
    "compute-cluster",
    demand="steps run on clusters that the profile describes, or on serverless compute",
    why="what nobody describes may be a compute instance, which is paid for until it is stopped",
    trial="warning",
)
def compute_cluster(subject: Subject) -> Iterator[Finding]:
    """A name alone says nothing: not whether it ends, nor whether it is open to SSH."""
    roles = {node.role: subject.role(node) for node in subject.nodes if subject.is_remote}
    for name, role in roles.items():
        if role and role.compute != SERVERLESS and role.compute not in subject.profile.clusters:
            yield subject.at_profile(
                f"roles.{name}.compute",
                f"{role.compute} is not described",
                f"add [clusters.{role.compute}], and run `tfhub-blocks compute apply`",
            )


@rule(
    "compute-ssh",
    demand="nobody can log in to a node",
    why="what somebody does by hand is in no lineage, and keys outlive their reason",
    trial="warning",
)
def compute_ssh(subject: Subject) -> Iterator[Finding]:
    """No service into a running step; `compute apply` makes and accepts no cluster with SSH."""
    for node in subject.nodes:
        for service in node.services:
            problem = f"it opens {service} into the running step"
            yield subject.at_node(node, problem, "take it out of the node's services")


@rule(
    "compute-priority",
    demand="nodes that may be taken away run only steps that go on where they were",
    why="a step that begins again each time is paid for twice, or never ends",
    trial="note",
)
def compute_priority(subject: Subject) -> Iterator[Finding]:
    """A step keeps finished parts by ``run.work(PORT)``."""
    keep = {
        step.name
        for step in subject.steps.values()
        if step.path
        and any(_KEEPS_WORK.search(call.name) for call in subject.sources.calls(step.path))
    }
    profile = subject.profile
    is_spot = profile.job is not None and profile.job.tier == "spot"
    for node in subject.nodes if subject.is_remote else ():
        role = subject.role(node)
        cluster = profile.clusters.get(role.compute) if role else None
        low = cluster.low_priority if cluster else bool(role and role.size and is_spot)
        if low and role and not node.shares_work and node.component not in keep:
            yield subject.at_node(
                node,
                f"{role.compute} is of low priority, and {node.component} keeps no finished work",
                "give its role a dedicated cluster, or let the step keep parts in run.work(PORT)",
            )


@rule(
    "compute-gpu",
    demand="only steps that use a GPU run on a machine with one",
    why="a GPU costs several times a CPU, used or not",
    severity="warning",
)
def compute_gpu(subject: Subject) -> Iterator[Finding]:
    """A step uses one only if its environment has CUDA."""
    for node in subject.nodes if subject.is_remote else ():
        role, definition = subject.role(node), subject.repository.environment(node.environment)
        if role is None or definition is None:
            continue
        cluster = subject.profile.clusters.get(role.compute)
        size = cluster.size if cluster else role.size or ""
        if _GPU_SIZE.match(size) and not subject.repository.locks_package(definition, CUDA):
            yield subject.at_node(
                node,
                f"{size} has a GPU, and its environment {definition.name} has no CUDA",
                "give its component the role of a CPU, or its role another size",
            )
