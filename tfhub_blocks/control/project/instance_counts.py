"""The role of a step in a profile, and the number of nodes that the step runs on."""

from tfhub_blocks.control.project.profiles import Profile, Role
from tfhub_blocks.control.project.step_graph import Node
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.worker_group import MANY, TAG


def role_of(node: Node, profile: Profile) -> Role:
    """What a profile says of a step's role.

    Raises:
        BlocksError: It has no such role.
    """
    role = profile.roles.get(node.role)
    if role is None:
        raise BlocksError(
            "profile",
            profile.name,
            f"it has no role {node.role!r}, which step {node.name} has",
            "one of " + ", ".join(profile.roles),
            f"add [roles.{node.role}] to it, or correct the tag role of {node.component}",
        )
    return role


def instance_count(node: Node, profile: Profile) -> int:
    """On how many nodes a step runs: as the pipeline says, else as its role in the profile says.

    What the profile says is for steps that can share their work; others run on one.

    Raises:
        BlocksError: The profile lacks the role, or the pipeline wants less than one, more than the
            profile's cluster has, or several for a step that cannot share its work.
    """
    role, asked = role_of(node, profile), node.instance_count
    if asked is None:
        return role.instance_count if node.shares_work else 1
    cluster = profile.clusters.get(role.compute)
    if not isinstance(asked, int) or asked < 1:
        expected = "a whole number, at least 1"
    elif asked > 1 and not node.shares_work:
        expected = f'1, or a component with the tag "{TAG}": "{MANY}"'
    elif cluster and asked > cluster.max_nodes:
        expected = f"at most max_nodes of {role.compute}, {cluster.max_nodes}"
    else:
        return asked
    raise BlocksError(
        "pipeline",
        f"{node.name}.resources",
        f"instance_count is {asked!r}",
        expected,
        "correct it in the pipeline, or leave it to the profile",
    )
