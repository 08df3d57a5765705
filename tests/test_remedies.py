"""Everything that a remedy names can be given where the user stands: at a shipped pipeline."""

import argparse
import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import tfhub_blocks
from tfhub_blocks import components
from tfhub_blocks.cli import command_parser
from tfhub_blocks.control.project.profiles import load_profile
from tfhub_blocks.control.project.run_requests import prepare_draft
from tfhub_blocks.control.repository.catalog import pipeline_files
from tfhub_blocks.records.environment.code_snapshots import step_modules

PACKAGE = Path(tfhub_blocks.__file__).parent
STEPS = [name for name in components.names() if (PACKAGE / f"components/{name}").is_dir()]
# Beginnings of instructions. A text that contains none of these is no remedy.
VERB = re.compile(r"\b(?:set|pass|leave|raise|reduce|allow)\b", re.IGNORECASE)
BEFORE = r"\b(?:set|pass|leave(?: out)?|raise|reduce|or|with|above|as)\s+"
# Options of steps whose fault arises only if the option itself was set to an unusual value: where a
# pipeline does not take the option, the text is never printed.
OWN_FAULT = {
    "activations",
    "augment_views",
    "dtype",
    "engine_max_difference",
    "engine_precision",
    "max_iterations",
    "resamples",
    "strengths",
}
# Pipeline, step and option where the other half of the remedy is the one to follow.
OTHER_HALF = {
    ("fine_tuning", "register_model", "compute_size"): "is asked for with evidence of latency",
    ("transfer_learning", "register_model", "compute_size"): "is asked for with such evidence",
    ("latency_gate", "check_latency", "encoder"): "the pipeline passes a model",
    ("latency_gate", "check_latency", "trust_code"): "evaluate refuses third-party models first",
    ("monitoring", "score_batch", "encoder"): "the pipeline passes a model",
    ("monitoring", "score_batch", "keep_features"): "pass a model with features: they are compared",
    ("monitoring", "score_batch", "model_name"): "nothing is registered",
    ("monitoring", "score_batch", "trust_code"): "third-party models have no features",
}


def instructions(path: Path) -> Iterator[str]:
    """Each text of a module that tells somebody to do something, with {} for values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner: set[ast.AST] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            inner.add(body[0].value)  # a docstring
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            inner |= set(node.values)
            text = "".join(str(getattr(part, "value", "{}")) if isinstance(part, ast.Constant)
                           else "{}" for part in node.values)  # fmt: skip
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            text = node.value
        if " " in text and VERB.search(text):
            yield text


def named_options(text: str, known: set[str]) -> set[str]:
    """The options in an instruction; a name that is an English word counts after a verb alone."""
    return {
        name
        for name in known
        if re.search(
            rf"(?<![\w-]){name}(?!\w)" if "_" in name else rf"{BEFORE}{name}\b", text, re.IGNORECASE
        )
    }


@pytest.fixture(scope="module")
def remedies() -> set[tuple[str, str, str]]:
    """Step, option and instruction, for each instruction in the code of a step."""
    inputs = {step: set(getattr(components, step).inputs) for step in STEPS}
    known = set().union(*inputs.values())
    texts: dict[Path, list[str]] = {}
    found = set()
    for step in STEPS:
        component = PACKAGE / f"components/{step}/component.py"
        for path in step_modules(component, PACKAGE).values():
            for text in texts.setdefault(path, list(instructions(path))):
                of = [other for other in STEPS if re.search(rf"\b{other}\b", text)]
                for option in named_options(text, known):
                    owners = [one for one in (step, *of) if option in inputs[one]]
                    found |= {(owner, option, text) for owner in owners[:1]}
    return found


def test_there_are_remedies(remedies):
    named = {option for _, option, _ in remedies}
    assert {
        *("respect_splits", "modality", "group_by", "facts", "max_rejected_fraction", "unpinned"),
        *("split_salt", "validation_fraction", "test_fraction", "trainable", "model_name"),
    } <= named


def lacking(pipeline: str, remedies: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], str]:
    """The remedies that name an input of a step which the pipeline does not take, by the two."""
    job, graph, _ = prepare_draft(pipeline, [], load_profile("local"))
    taken: dict[tuple[str, str], set[bool]] = {}
    for name, entry in job._to_dict()["jobs"].items():
        step = graph.nodes[name].component
        for port, value in (entry.get("inputs") or {}).items():
            text = value["path"] if isinstance(value, dict) else str(value)
            taken.setdefault((step, port), set()).add("${{parent." in text)
    steps = {node.component for node in graph.nodes.values()}
    return {
        (step, option): text
        for step, option, text in remedies
        if step in steps and True not in taken.get((step, option), {False})
    }


@pytest.mark.parametrize("pipeline", sorted(pipeline_files()))
def test_a_shipped_pipeline_takes_what_remedies_of_its_steps_name(pipeline, remedies):
    unmet = {
        f"{step}.{option}: {text}"
        for (step, option), text in lacking(pipeline, remedies).items()
        if option not in OWN_FAULT and (pipeline, step, option) not in OTHER_HALF
    }
    assert not sorted(unmet)


def test_exceptions_are_needed(remedies):
    unmet = {
        (pipeline, step, option)
        for pipeline in pipeline_files()
        for step, option in lacking(pipeline, remedies)
    }
    assert {option for _, _, option in unmet} >= OWN_FAULT
    assert set(OTHER_HALF) <= unmet


def test_options_of_commands_in_instructions_exist():
    """A text may name an option alone, or in a whole command in backticks."""
    commands = dict(known_commands(command_parser(), ()))
    options = {option for of in commands.values() for option in of}
    lacking = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in instructions(path):
            for command in re.findall(r"`tfhub-blocks ([^`]+)`", text):
                words = command.split()
                name = next(
                    (tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in commands), None
                )
                asked = {word for word in words if word.startswith("--")}
                if name is None or not asked <= commands[name] | {"--{}"}:
                    lacking.append((path.name, text))
            alone = re.sub(r"`[^`]*`", "", text)
            lacking += [
                (path.name, option)
                for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", alone)
                if option not in options
            ]
    assert not lacking


def known_commands(
    parser: argparse.ArgumentParser, name: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Each command by its words, with its options."""
    yield name, set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from known_commands(below, (*name, word))
