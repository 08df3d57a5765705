"""The reference pages say what the code says. `make reference` writes them again."""

import re
import shlex
import sys
from pathlib import Path

import pytest

import tfhub_blocks
from tfhub_blocks.cli import command_parser
from tfhub_blocks.control.project.run_requests import pipeline_ports

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
sys.path.insert(0, str(ROOT / "docs"))
import write_reference  # noqa: E402


@pytest.fixture(scope="module")
def pages():
    return write_reference.pages()


def test_pages_are_those_that_the_code_gives(pages):
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert written.keys() == pages.keys()
    stale = [name for name, text in pages.items() if written[name] != text]
    assert stale == [], "run `make reference`"


def test_each_step_pipeline_command_and_name_has_a_section(pages):
    def sections(name):
        return set(re.findall(r"^## (.+)$", pages[name], re.M))

    steps = {path.parent.name for path in (ROOT / "components").rglob("component.py")}
    assert sections("steps.md") == steps
    installed = {path.stem for path in (ROOT / "pipelines").glob("[!_]*.py")}
    assert sections("pipelines.md") == installed
    packages = {"components", "pipelines", "__version__"}
    assert sections("python.md") == set(tfhub_blocks.__all__) - packages
    assert {"run", "submit", "encoder pin", "schedule apply", "completion"} <= sections(
        "commands.md"
    )


def test_nothing_in_the_reference_lacks_a_description(pages):
    empty = [
        (name, line)
        for name in ("steps.md", "pipelines.md", "commands.md", "python.md")
        for line in pages[name].splitlines()
        if line.startswith("|") and re.search(r"\|\s*(None)?\s*\|$", line)
    ]
    assert empty == []


def test_docstring_becomes_markdown():
    text = """Write a file.

    Example::

        write(path)

    Args:
        path: The file, which
            may exist.
    """
    import inspect

    assert list(write_reference.markdown(inspect.cleandoc(text))) == [
        "Write a file.",
        "",
        "",
        "```python",
        "write(path)",
        "```",
        "",
        "**Args:**",
        "",
        "- `path`: The file, which",
        "  may exist.",
        "",
        "",
    ]


def test_index_of_decisions_lists_each_record_in_order():
    path = ROOT / "docs" / "decisions" / "README.md"
    assert path.read_text(encoding="utf-8") == write_reference.decisions_index(), (
        "run `make reference`"
    )


HOW_TO = [ROOT / "docs" / "designer.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]


@pytest.mark.parametrize("path", HOW_TO, ids=lambda path: path.stem)
def test_commands_of_how_to_pages_exist_with_their_options_and_inputs(path):
    text = path.read_text(encoding="utf-8")
    for command in re.findall(r"^ +tfhub-blocks (.+)$", text, re.M):
        words = shlex.split(command)
        options = command_parser().parse_args(words)
        names = {it.partition("=")[0] for it in getattr(options, "settings", None) or ()}
        if names:
            assert names <= pipeline_ports(words[1]).keys(), command
    for name in re.findall(r"`(?:--set )?(\w+)=[^`]+`", text):
        assert name in pipeline_ports("transfer_learning"), name


def test_how_to_pages_are_short():
    long = [path.stem for path in HOW_TO[1:] if len(path.read_text().splitlines()) > 60]
    assert long == []
