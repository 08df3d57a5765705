"""Rules on compute: it costs nothing while no step runs."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.environments.environment_catalog import CUDA
from tfhub_blocks.control.project.clusters import GPU_SIZE, would_stay_up
from tfhub_blocks.control.project.profiles import SERVERLESS
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject

_KEEPS_WORK = re.compile(r"(^|\.)run\.work$")


@rule(
    "compute-scale",
    demand="a cluster has no node while no step runs",
    why="an idle node costs as much as a busy one, at night as by day",
)
def compute_scale(subject: Subject) -> Iterator[Finding]:
    """Find clusters with a minimum above 0 nodes, or a maximum below 1."""
    return _stays_up(subject, {"min_nodes", "max_nodes"})


@rule(
    "compute-idle",
    demand="a node without work is released within half an hour",
    why="a node that idles longer costs more than the time its start would take",
)
def compute_idle(subject: Subject) -> Iterator[Finding]:
    """Find clusters whose ``idle_s`` is out of range."""
    return _stays_up(subject, {"idle_s"})


def _stays_up(subject: Subject, keys: set[str]) -> Iterator[Finding]:
    for name, cluster in subject.clusters().items() if subject.is_remote else ():
        for key, problem, expected in would_stay_up(cluster) if cluster else ():
            if key in keys:
                yield subject.at_profile(
                    f"clusters.{name}.{key}", problem, f"Set {key} to {expected}"
                )


@rule(
    "compute-timeout",
    demand="each node has a time limit, which is at most that of its role",
    why="a step that hangs costs money until a user notices",
)
def compute_timeout(subject: Subject) -> Iterator[Finding]:
    """Find nodes without a time limit, or with a longer one than their role in the profile."""
    for node in subject.nodes:
        role = subject.role(node)
        if role is None:
            yield subject.at_node(
                node,
                f"profile {subject.profile.name} has no role {node.role!r} to set a time limit",
                f"Add [roles.{node.role}] with compute and timeout_s to the profile",
            )
        elif (node.timeout_s or 0) > role.timeout_s:
            yield subject.at_node(
                node,
                f"the node's limit is {node.timeout_s} s, and that of role {node.role} is "
                f"{role.timeout_s} s",
                f"Remove the limit in the pipeline, or raise roles.{node.role}.timeout_s",
            )


@rule(
    "compute-cluster",
    demand="steps run on clusters that the profile describes, or on serverless compute",
    why="a compute without description may be an instance, which costs money until it is stopped",
    trial="warning",
)
def compute_cluster(subject: Subject) -> Iterator[Finding]:
    """Find roles with a compute that is only a name: its scaling and its SSH are unknown."""
    roles = {node.role: subject.role(node) for node in subject.nodes if subject.is_remote}
    for name, role in roles.items():
        if role and role.compute != SERVERLESS and role.compute not in subject.profile.clusters:
            yield subject.at_profile(
                f"roles.{name}.compute",
                f"{role.compute} has no description in the profile",
                f"Add [clusters.{role.compute}], and run `tfhub-blocks compute apply`",
            )


@rule(
    "compute-ssh",
    demand="users cannot log in to a node",
    why="manual changes appear in no lineage, and keys stay valid longer than needed",
    trial="warning",
)
def compute_ssh(subject: Subject) -> Iterator[Finding]:
    """Find services into a running step; `compute apply` refuses clusters with SSH itself."""
    for node in subject.nodes:
        for service in node.services:
            problem = f"the node opens {service} into the running step"
            yield subject.at_node(node, problem, f"Remove {service} from the node's services")


@rule(
    "compute-priority",
    demand="low-priority nodes run only steps that can resume",
    why="a step that starts from the beginning after each preemption costs more, or never ends",
    trial="note",
)
def compute_priority(subject: Subject) -> Iterator[Finding]:
    """Find steps on such nodes that do not keep finished parts with ``run.work(PORT)``."""
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
                f"{role.compute} is of low priority, and {node.component} keeps no finished parts",
                f"Set a dedicated cluster in roles.{node.role}.compute, or keep finished parts in "
                "run.work(PORT) of the step",
            )


@rule(
    "compute-gpu",
    demand="only steps that use a GPU run on a machine with a GPU",
    why="a GPU costs several times as much as a CPU, used or not",
    severity="warning",
)
def compute_gpu(subject: Subject) -> Iterator[Finding]:
    """Find nodes on a GPU whose environment has no CUDA."""
    for node in subject.nodes if subject.is_remote else ():
        role, definition = subject.role(node), subject.repository.environment(node.environment)
        if role is None or definition is None:
            continue
        cluster = subject.profile.clusters.get(role.compute)
        size = cluster.size if cluster else role.size or ""
        if GPU_SIZE.match(size) and not subject.repository.locks_package(definition, CUDA):
            yield subject.at_node(
                node,
                f"{size} has a GPU, and environment {definition.name} has no CUDA",
                f"Use the role of a CPU in the component, or set another size for role {node.role}",
            )
