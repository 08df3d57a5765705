"""The table of the roles that each command needs, for the documentation."""

# decision 86

from collections.abc import Iterable

from tfhub_blocks.control.workspace.azure_roles import AzureNeeds, roles_for


def role_table(needs: Iterable[AzureNeeds]) -> str:
    """Return the commands with their roles and actions, as a table of Markdown.

    Roles are those on the workspace; a role on the storage account is needed only where datastores
    have no keys.
    """
    lines = [
        "| command | role on the workspace | role on the storage account, without keys | actions |",
        "|---|---|---|---|",
    ]
    for it in needs:
        roles = ", ".join(roles_for(it.full_actions))
        data = ", ".join(roles_for(it.blob_actions, is_data=True))
        actions = ", ".join(f"`{action}`" for action in it.actions)
        lines.append(f"| `{it.command}` | {roles} | {data or 'none'} | {actions} |")
    return "\n".join(lines)
