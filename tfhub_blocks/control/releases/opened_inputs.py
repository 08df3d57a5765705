"""The check that the steps of a pipeline can resolve the open input of a release."""

# decision 64

from collections.abc import Mapping

from tfhub_blocks.control.project.step_graph import Graph
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.formats.releases import LockedData, LockedStep

# The tag of a component that resolves an open input: the name of its port.
OPENS_TAG = "opens"


def check_open(
    where: str,
    what: str,
    name: str,
    data: Mapping[str, LockedData],
    graph: Graph,
    steps: Mapping[str, LockedStep],
) -> None:
    """Check that an input is a folder of data, which only resolving steps read.

    Args:
        where: The command, for the error.
        what: The option or the key that opens the input, for the error.
        name: The pipeline's input.
        data: The data of the lock.
        graph: The graph of the pipeline.
        steps: The locked steps.

    Raises:
        BlocksError: The input is not a folder of data, or a step cannot resolve it.
    """
    if name not in data or data[name].type != "uri_folder":
        folders = sorted(it for it, given in data.items() if given.type == "uri_folder")
        raise BlocksError(
            where,
            what,
            f"{name} is not an input for a folder of data",
            "one of " + ", ".join(folders) if folders else "",
            nearest(name, folders) or "Write the lock without --open",
        )
    for node, step in steps.items():
        for port in (port for port, source in step.inputs.items() if source == f"inputs.{name}"):
            if (graph.nodes[node].entity.tags or {}).get(OPENS_TAG) != port:
                raise BlocksError(
                    where,
                    what,
                    f"step {node} reads {name} at port {port}, and cannot resolve its version",
                    f'a component with the tag "{OPENS_TAG}": "{port}", such as snapshot_data',
                    f"Let only such a step read {name}, or write the lock without --open",
                )
