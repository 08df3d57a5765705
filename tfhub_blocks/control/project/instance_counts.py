"""The role of a step in a profile, and the number of nodes that the step runs on."""

# decision 18

from tfhub_blocks.control.project.profiles import Profile, Role
from tfhub_blocks.control.project.step_graph import Node
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.worker_group import MANY, TAG


def role_of(node: Node, profile: Profile) -> Role:
    """Return the settings of a step's role in a profile.

    Raises:
        BlocksError: The profile lacks the role.
    """
    role = profile.roles.get(node.role)
    if role is None:
        raise BlocksError(
            "profile",
            profile.name,
            f"profile {profile.name} lacks role {node.role!r}, which step {node.name} needs",
            "one of the roles " + ", ".join(profile.roles),
            f"Add a table [roles.{node.role}] to {profile.path}, or change the tag role of"
            f" component {node.component}",
        )
    return role


def instance_count(node: Node, profile: Profile) -> int:
    """Return the number of nodes that a step runs on: the pipeline's count, else its role's.

    The role's count applies only to steps that can share their work; other steps run on one node.

    Raises:
        BlocksError: The profile lacks the role, or the pipeline sets a count below one, a count
            above the cluster's size, or several nodes for a step that cannot share its work.
    """
    role, wanted = role_of(node, profile), node.instance_count
    if wanted is None:
        return role.instance_count if node.shares_work else 1
    cluster = profile.clusters.get(role.compute)
    if not isinstance(wanted, int) or wanted < 1:
        expected = "a whole number, at least 1"
    elif wanted > 1 and not node.shares_work:
        expected = f'1, or a component with the tag "{TAG}": "{MANY}"'
    elif cluster and wanted > cluster.max_nodes:
        expected = f"at most {cluster.max_nodes}, the max_nodes of cluster {role.compute}"
    else:
        return wanted
    raise BlocksError(
        "pipeline",
        f"{node.name}.resources",
        f"instance_count is {wanted!r}",
        expected,
        f"Change instance_count of step {node.name} in the pipeline, or remove it, so that the"
        " profile decides",
    )
