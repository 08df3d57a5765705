"""The call of a pipeline function: each mistake in it with its line, and the line of each node."""

# decision 100

import ast
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import signature
from types import FrameType
from typing import Any

from azure.ai.ml.dsl import _dynamic, _pipeline_decorator
from azure.ai.ml.dsl._pipeline_component_builder import (
    PipelineComponentBuilder,
    _is_inside_dsl_pipeline_func,
)
from azure.ai.ml.entities._component.component import Component
from azure.ai.ml.entities._job.pipeline._io.attr_dict import OutputsAttrDict

from tfhub_blocks.control.repository.faults import (
    UserLine,
    calling_line,
    error_line,
    error_text,
    raise_all,
)
from tfhub_blocks.records.base.errors import BlocksError, nearest, nearest_word

_BUILT = "_tfhub_blocks_building"


@dataclass
class Building:
    """The mistakes that were found so far, and the line that created each node of the job.

    ``misspelt`` contains the inputs that the unknown ones of a line seem to mean. ``is_draft`` is
    True if the values of the job are stand-ins, or are left to the rules of ``check``. ``passed``
    contains the inputs that the caller passed.
    """

    pipeline: str
    faults: list[BlocksError] = field(default_factory=list)
    lines: dict[str, UserLine] = field(default_factory=dict)
    misspelt: set[tuple[str, str]] = field(default_factory=set)
    is_draft: bool = False
    passed: frozenset[str] = frozenset()

    def line(self, job_node: Any) -> UserLine | None:
        """Return the line that created a node, or None for a node from a YAML file."""
        return self.lines.get(str(getattr(job_node, "_instance_id", "")))


@contextmanager
def building(pipeline: str) -> Iterator[Building]:
    """Collect the mistakes in a pipeline function while it runs, and raise all when it ends.

    An unknown input of a step is left out, and an unknown output is replaced by another one, so
    that the function runs to its end and one call finds every mistake.

    Raises:
        BlocksError: The function contains mistakes, or raised an error.
    """
    found = Building(pipeline)
    patches = list(_patches(found))
    originals = [(target, name, vars(target)[name]) for target, name, _ in patches]
    try:
        for target, name, value in patches:
            setattr(target, name, value)
        yield found
    except BlocksError as error:
        raise_all([*found.faults, error])
    except Exception as error:
        raise_all([*found.faults, _fault(pipeline, error)])
    finally:
        for target, name, value in originals:
            setattr(target, name, value)
    raise_all(found.faults)


def checked_call(function: Any, values: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call a pipeline function, and keep the lines of its nodes for ``lines_of``.

    Raises:
        BlocksError: The call or the function contains mistakes.
    """
    if _is_inside_dsl_pipeline_func():  # a part of a pipeline, whose own call is checked
        return function(*values, **named)
    with building(function.__name__) as built:
        job = function(*values, **named)
    built.passed = frozenset([*list(signature(function).parameters)[: len(values)], *named])
    job.__dict__[_BUILT] = built
    return job


def lines_of(job: Any) -> Building | None:
    """Return the lines of the nodes of a job that ``checked_call`` returned, or None."""
    found: Building | None = job.__dict__.get(_BUILT)
    return found


def _patches(found: Building) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """Yield the functions of azure-ai-ml that stop at the first mistake, with their stand-ins."""
    check, check_args = _dynamic._assert_arg_valid, _pipeline_decorator._validate_args
    take, add = OutputsAttrDict.__getitem__, PipelineComponentBuilder.add_node

    def drop_unknown(step: str, given: dict[str, Any], known: Iterable[str]) -> None:
        folded = {name.lower() for name in known}
        for name in [it for it in given if it.lower() not in folded]:
            del given[name]
            if (meant := nearest_word(name, known)) is not None:
                found.misspelt.add((str(calling_line()), meant))
            found.faults.append(_unknown("input", step, name, list(known), name))

    def assert_arg_valid(kwargs: dict[str, Any], keys: list[str], func_name: str) -> None:
        drop_unknown(_called_component() or func_name, kwargs, keys)
        check(kwargs, keys, func_name)

    def validate_args(func: Any, args: Any, kwargs: dict[str, Any], plain: list[str]) -> Any:
        known = signature(func).parameters
        if not any(it.kind == it.VAR_KEYWORD for it in known.values()):
            drop_unknown(func.__name__, kwargs, known)
        return check_args(func, args, kwargs, plain)

    def get_output(self: Any, item: Any) -> Any:
        if item in self or not len(self):
            return take(self, item)
        owner = next(iter(self.values()))._owner
        step = str(getattr(owner, "_get_component_name", lambda: "")() or "")
        found.faults.append(_unknown("output", step, str(item), list(self), str(item)))
        return next(iter(self.values()))

    def add_node(self: Any, node: Any) -> None:
        if line := calling_line():
            found.lines[str(node._instance_id)] = line
        add(self, node)

    yield _dynamic, "_assert_arg_valid", assert_arg_valid
    yield _pipeline_decorator, "_validate_args", validate_args
    yield OutputsAttrDict, "__getitem__", get_output
    yield PipelineComponentBuilder, "add_node", add_node


def _called_component() -> str:
    """Return the name of the component that the pipeline is calling; the SDK shows its title."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is Component.__call__.__code__:
            return str(frame.f_locals["self"].name)
        frame = frame.f_back
    return ""


def _unknown(kind: str, step: str, name: str, known: list[str], word: str) -> BlocksError:
    line = calling_line()
    where = str(word_line(line, word) or "pipeline")
    near = nearest(name, known) or f"Run `tfhub-blocks show {step}` to see its {kind}s"
    problem = f"{step} has no {kind} {name!r}"
    return BlocksError(where, f"{step}.{name}", problem, "one of " + ", ".join(known), near)


def _fault(pipeline: str, error: Exception) -> BlocksError:
    """Return the error for an exception that the pipeline function raised."""
    line, text = error_line(error), error_text(error)
    remedy = f"Edit line {line.line}" if line else "Edit the pipeline"
    if "PipelineInput" in text or "PipelineExpression" in text:
        text = "an input has no value while the pipeline is built, so Python cannot compute with it"
        remedy = f"Name the input in @dsl.pipeline(non_pipeline_inputs=[...]), or {_lower(remedy)}"
    return BlocksError(str(line or "pipeline"), pipeline, text, "", remedy)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def word_line(line: UserLine | None, word: str) -> UserLine | None:
    """Return the line of a keyword or an attribute in the call or statement that runs.

    Args:
        line: The first line of the statement, which may have many.
        word: The name of the keyword argument or of the attribute.
    """
    if line is None:
        return None
    try:
        numbers = _words(line.path.read_bytes()).get(word, ())
    except OSError:
        return line
    later = [(first, number) for first, last, number in numbers if first <= line.line <= last]
    return UserLine(line.path, max(later)[1]) if later else line


@lru_cache(maxsize=64)
def _words(source: bytes) -> Mapping[str, list[tuple[int, int, int]]]:
    """Return the line of each keyword and attribute, with the lines of the call around it."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for it in node.keywords:
                if it.arg:
                    place = (node.lineno, node.end_lineno or node.lineno, it.value.lineno)
                    found.setdefault(it.arg, []).append(place)
        elif isinstance(node, ast.Attribute):
            last = node.end_lineno or node.lineno
            found.setdefault(node.attr, []).append((node.lineno, last, last))
    return found
