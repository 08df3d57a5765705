"""Inputs of pipelines that repeat inputs of their steps."""

import copy
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError, nearest

_KEPT: Any = object()


def like(
    step: Any,
    port: str,
    *,
    description: str = _KEPT,
    default: Any = _KEPT,
    optional: bool = _KEPT,
) -> Any:
    """Return a step's input, to annotate the input of a pipeline that feeds the step.

        def my_pipeline(data: like(extract_features, "snapshot"),
                        engine: like(extract_features, "engine", default="tensorflow")):

    The copy has the step's type, choices, limits, description and default, and is optional if the
    step's input is. The pipeline's signature need not repeat the default; a default in the
    signature wins.

    Args:
        step: A step from ``tfhub_blocks.components``.
        port: The name of the input.
        description: Another description.
        default: Another default; None requires a value, unless the input is optional.
        optional: True if callers may leave the input out.

    Raises:
        BlocksError: The step has no input of that name.
    """
    if port not in step.inputs:
        raise BlocksError(
            "like",
            port,
            f"step {step.name} has no input {port!r}",
            "one of " + ", ".join(step.inputs),
            nearest(port, step.inputs) or f"Run `tfhub-blocks show {step.name}` to see its inputs",
        )
    # azure-ai-ml writes the name and the default of a pipeline's input into its annotation.
    copied = copy.deepcopy(step.inputs[port])
    changes = {"description": description, "default": default, "optional": optional}
    for name, value in changes.items():
        if value is not _KEPT:
            setattr(copied, name, value)
    return copied
