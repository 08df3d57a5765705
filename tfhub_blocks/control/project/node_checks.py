"""Checks of one node of a pipeline: its kind, and the value of each of its ports."""

# decisions 100 and 101

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.pipeline_building import Building, word_line
from tfhub_blocks.control.project.step_graph import (
    MLDESIGNER,
    OPTIONAL,
    PLACEHOLDER,
    Graph,
    Node,
    OutputOf,
    job_nodes,
)
from tfhub_blocks.control.repository.catalog import DATA_TYPES, REMOTE_PREFIXES
from tfhub_blocks.control.repository.faults import UserLine, raise_all
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.foreign_text import is_utf_8
from tfhub_blocks.records.base.redaction import has_secret

# A tag of a step: an optional port, a space, and the other port that the first one requires. The
# step checks this too, but it may be the last to run.
_NEEDS_TAG = "needs"
# The step that azure-ai-ml writes for arithmetic on the inputs of a pipeline.
_EXPRESSION = "expression_component"
_WORDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}


def refuse_kinds(job: Any, built: Building) -> None:
    """Check that each node of a job is a command step whose code is here, or a pipeline of such.

    Raises:
        BlocksError: A node has another kind, or its component is in a workspace.
    """
    faults: list[BlocksError] = []
    for name, node in job_nodes(job).items():
        try:
            _refuse_kind(name, node, str(built.line(node) or "pipeline"))
        except BlocksError as error:
            faults.append(error)
    raise_all(faults)


def _refuse_kind(name: str, node: Any, where: str) -> None:
    component: Any = getattr(node, "component", None)
    kind = str(getattr(node, "type", ""))
    if isinstance(component, str) and kind in ("command", "pipeline"):
        raise BlocksError(
            where,
            name,
            f"component {component} of node {name} is in a workspace or registry",
            "a component with local code",
            "Load it from its YAML file or its component.py, or submit the pipeline with"
            " azure-ai-ml",
        )
    if kind != "command":
        raise BlocksError(
            where,
            name,
            f"node {name} is a node of type {kind}, which tfhub-blocks does not run",
            "command steps, and pipelines of command steps",
            f"Replace {name} by a command step, or submit the pipeline with azure-ai-ml",
        )
    if component.name == _EXPRESSION:
        raise BlocksError(
            where,
            name,
            f"azure-ai-ml turns {component.display_name} into a step of its own, which"
            " tfhub-blocks does not run",
            "",
            "Compute in the step, or name the inputs in @dsl.pipeline(non_pipeline_inputs=[...])",
        )
    for port, it in component.outputs.items():
        if it.type not in DATA_TYPES:
            raise BlocksError(
                where,
                f"{name}.{port}",
                f"output {port} of step {name} is of type {it.type}, and tfhub-blocks passes"
                " only files and folders from step to step",
                "one of " + ", ".join(sorted(DATA_TYPES)),
                f"Write {port} into a file of an output folder",
            )


def check_node(
    node: Node,
    component: Mapping[str, Any],
    line: UserLine | None,
    misspelt: Collection[tuple[str, str]] = (),
    is_draft: bool = False,
) -> None:
    """Check that each port of a step has a value that fits.

    Args:
        node: The step.
        component: The dictionary of its component.
        line: The line that created the node.
        misspelt: Inputs of a line that were passed under an unknown name, which was reported.
        is_draft: True to leave types, choices and limits to the rules of ``check``.

    Raises:
        BlocksError: Values are missing or do not fit. The error contains each of them.
    """
    faults = [*_missing(node, component, line, misspelt), *_undeclared(node, component, line)]
    for port, spec in (component.get("inputs") or {}).items():
        value = node.inputs.get(port)
        where = str(word_line(line, port) or "pipeline")
        if isinstance(value, str):
            if has_secret(value):
                continue  # refuse_secrets says so, whatever else is wrong with the value
            faults += _odd_texts(node, port, value, where)
        is_checked = value is not None and not is_draft
        problem, expected = _misfit(value, spec) if is_checked else ("", "")
        if problem:
            text = f"{port} of step {node.name} is {problem}"
            remedy = f"Change {port} in the pipeline, or the input that it comes from"
            faults.append(BlocksError(where, f"{node.name}.{port}", text, expected, remedy))
    raise_all(faults)


def _missing(
    node: Node,
    component: Mapping[str, Any],
    line: UserLine | None,
    misspelt: Collection[tuple[str, str]],
) -> Iterator[BlocksError]:
    where = str(line or "pipeline")
    for port, spec in (component.get("inputs") or {}).items():
        is_missing = port not in node.inputs and not spec.get("optional")
        if is_missing and (where, port) not in misspelt:
            yield BlocksError(
                where,
                f"{node.name}.{port}",
                f"input {port} of step {node.name} has no value",
                f"a value of type {spec['type']}",
                f"Pass {port}=... where the pipeline calls {component['name']}",
            )
    port, _, needed = str((component.get("tags") or {}).get(_NEEDS_TAG, "")).partition(" ")
    if port in node.inputs and needed not in node.inputs:
        yield BlocksError(
            where,
            f"{node.name}.{port}",
            f"{port} is {node.inputs[port]}, but {needed} is missing",
            f"{needed} together with {port}",
            f"Set {needed} too, or leave {port} out",
        )


def _undeclared(
    node: Node, component: Mapping[str, Any], line: UserLine | None
) -> Iterator[BlocksError]:
    """Yield an error for each placeholder of the command that no port fills."""
    needed = PLACEHOLDER.findall(OPTIONAL.sub("", node.command))
    for kind, port in dict.fromkeys(PLACEHOLDER.findall(node.command)):
        ports = component.get(kind) or {}
        problem = f"the command of step {node.name} contains ${{{{{kind}.{port}}}}}"
        where, what = str(line or "pipeline"), f"{node.name}.{port}"
        if port not in ports:
            problem += f", but {node.component} has no {kind[:-1]} {port!r}"
            remedy = nearest(port, ports) or f"Declare {port} among the {kind} of {node.component}"
            yield BlocksError(where, what, problem, "", remedy)
        elif (kind, port) in needed and kind == "inputs" and _is_left_out(node, port, ports):
            problem += f", but the optional input {port} has no value"
            remedy = f"Write $[[--{port} ${{{{inputs.{port}}}}}]] in the command"
            yield BlocksError(where, what, problem, "", remedy)


def _is_left_out(node: Node, port: str, ports: Mapping[str, Any]) -> bool:
    return port not in node.inputs and bool(ports[port].get("optional"))


def _odd_texts(node: Node, port: str, text: str, where: str) -> Iterator[BlocksError]:
    """Yield an error if the command cannot contain a text that the step is given."""
    odd = ("\0",) if node.command.startswith(MLDESIGNER) else ("'", "\n", "${{", "\0")
    if any(character in text for character in odd) or not is_utf_8(text):
        yield BlocksError(
            where,
            f"{node.name}.{port}",
            f"{text!r} contains a character that the command of the step cannot contain",
            "a value that a command line can contain",
            f"Change {port} of step {node.name} in the pipeline, or the input that it comes from",
        )


def _misfit(value: Any, spec: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a value does not fit a port, and what is expected; two empty texts if it fits."""
    kind = str(spec.get("type"))
    if kind in DATA_TYPES:
        if isinstance(value, bool | int | float):
            return f"{value!r}", f"data of type {kind}"
        return "", ""
    if isinstance(value, Path):
        return f"the data {value}", _WORDS.get(kind, f"a value of type {kind}")
    if not isinstance(value, bool | int | float | str) or isinstance(value, OutputOf):
        return "", ""  # an input that a draft has no value for
    number = _number(value, kind)
    if number is None:
        return f"{value!r}", _WORDS.get(kind, kind)
    choices = [str(it) for it in spec.get("enum") or ()]
    if choices and str(value) not in choices:
        return f"{value!r}", "one of " + ", ".join(choices)
    if isinstance(number, float):
        least, most = spec.get("min"), spec.get("max")
        if not math.isfinite(number):
            return f"{value}", "a finite number"
        if least is not None and number < float(least):
            return f"{value}", f"at least {least}"
        if most is not None and number > float(most):
            return f"{value}", f"at most {most}"
    return "", ""


def _number(value: Any, kind: str) -> float | str | None:
    """Return a value as a number or a text of its port's type; None if it is of another type."""
    text = str(value)
    try:
        if kind == "integer":
            # The SDK's dictionary contains a boolean as 1 or 0.
            return float(int(value if isinstance(value, bool) else text))
        if kind == "number":
            return float(value if isinstance(value, bool) else text)
    except (ValueError, OverflowError):
        return None
    if kind == "boolean":
        return text if text.lower() in ("true", "false", "1", "0") else None
    return text


# A path that was once a Path has one slash after the scheme.
_REMOTE_PATHS = tuple(it.rstrip("/") for it in REMOTE_PREFIXES)


def check_local_data(graph: Graph) -> None:
    """Check that the data that a pipeline itself names exists on this machine.

    Raises:
        BlocksError: A path does not exist, or is data of a workspace.
    """
    faults = []
    for node in graph.nodes.values():
        for port, value in node.inputs.items():
            if not isinstance(value, Path) or value.exists():
                continue
            text = str(value)
            remote = text.startswith(_REMOTE_PATHS)
            problem = "is in a workspace or at an address" if remote else "does not exist"
            faults.append(
                BlocksError(
                    node.line or "pipeline",
                    f"{node.name}.{port}",
                    f"{text} {problem}",
                    "a file or folder of this machine",
                    f"Change {port} of step {node.name} in the pipeline, or make it an input",
                )
            )
    raise_all(faults)
