"""Whatever the words of a command are, it ends with a status, and each fault is one line."""

import argparse
import random

import pytest

from tfhub_blocks.cli import command_parser

# Commands that wait for requests, or fetch and install packages.
LEFT_OUT = {"serve", "samples", "env lock", "env bake"}
WORDS = [
    "toy", "make", "toi", "src", "src/word", "local", "production", "experiment", ".", "..", "/",
    "source=src", "count=3", "count=1e999", "count=" + "9" * 5000, "rate=nan", "flag=", "=x", "=",
    "text=it's", "text=$(id)", "text=`id`", "text=${{inputs.x}}", "maybe=-0", "owner=\u202eme",
    "--", "-", "-x", "--set", "--json", "--profile", "--help-me", "", " ", "\n", "a\nerror: forged",
    "\x1b[2K", "\x1b]0;x\x07", "\udc80", "\u2028", "%s%n", "{0}", "[red]x[/red]", "~nobody/x",
    "x" * 300, "x" * 70_000, "../../etc/passwd", "toy@1", "toy:1", "models:/toy/1", "azureml:toy:1",
    "https://u:HIDDEN-PASSWORD@127.0.0.1:9/x", "source=https://127.0.0.1:9/x?token=HIDDEN-TOKEN",
    "latest", "0", "-1", "1e9", "2020-01-01", "NaN", "true", "*.py", "[a", "?", "a#b", "pipelines",
    "pipelines/profiles/odd.toml", "components", "\\", "'", '"', "''", "日本", "/dev/null", "/proc",
]  # fmt: skip


def commands():
    """The words of each command, with its options."""

    def walk(parser, words):
        groups = [it for it in parser._actions if isinstance(it, argparse._SubParsersAction)]
        for group in groups:
            for name, below in group.choices.items():
                yield from walk(below, (*words, name))
        if not groups and not {words[0], " ".join(words)} & LEFT_OUT:
            yield words, [it.option_strings[-1] for it in parser._actions if it.option_strings]

    return list(walk(command_parser(), ()))


def lines(seed, count):
    """So many command lines."""
    chosen = random.Random(seed)  # noqa: S311
    known = commands()
    for _ in range(count):
        words, options = chosen.choice(known)
        line = list(words) if chosen.random() < 0.95 else chosen.sample(WORDS, 1)
        for _ in range(chosen.randrange(5)):
            if options and chosen.random() < 0.5:
                line.append(chosen.choice(options))
            line.append(chosen.choice(WORDS))
        # Nothing is changed in a repository or in Azure.
        if not {"refresh", "--url", "--run"} & set(line):
            yield line


@pytest.fixture
def tried(project, monkeypatch):
    """``tried(line)`` runs a command line, and returns what is wrong about its end."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for name in ("GITHUB_TOKEN", "SYSTEM_ACCESSTOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(line):
        try:
            outcome = project.main(*line, anew=False)
        except BaseException as error:
            project.capture.readouterr()
            return f"raised {type(error).__name__}: {error}"
        told = outcome.out + outcome.err
        faults = [
            word
            for word in ("Traceback", "unforeseen", "HIDDEN", "\x1b", "\u202e", "\nerror: forged")
            if word in told
        ]
        if outcome.status not in (0, 1, 2):
            faults.append(f"status {outcome.status}")
        if outcome.status and not told.strip():
            faults.append("nothing was printed")
        return f"{faults}: {told[-800:]}" if faults else ""

    return run


def check(tried, seed, count):
    wrong = {}
    for line in lines(seed, count):
        if fault := tried(line):
            wrong[repr([word[:80] for word in line])] = fault
    assert wrong == {}


def test_a_sample_of_command_lines_ends_without_a_traceback(tried):
    check(tried, seed=1, count=50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_thousand_command_lines_end_without_a_traceback(tried):
    check(tried, seed=2, count=5000)
