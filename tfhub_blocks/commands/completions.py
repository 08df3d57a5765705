"""``completion``: print the script that completes commands, options and names in a shell."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE

# Importing it would load SQLite at the start of each command.
_NAMES = Path(__file__).with_name("completion_names.py")
SHELLS = ("bash", "zsh", "fish")
PLACES = {
    "bash": "~/.local/share/bash-completion/completions/tfhub-blocks",
    "zsh": "a folder of $fpath, as the file _tfhub-blocks",
    "fish": "~/.config/fish/completions/tfhub-blocks.fish",
}
# The kinds of names that an argument takes, by command and argument; else by what help shows.
_OF_COMMAND = {
    "show NAME": "pipelines steps runs",
    "check PIPELINE": "pipelines",
    "status JOB": "runs jobs",
    "logs JOB": "runs jobs",
    "compare RUN_A": "runs jobs",
    "compare RUN_B": "runs jobs",
    "runs tag RUN": "runs jobs",
    "runs --pipeline": "pipelines",
    "cost TARGET": "pipelines runs jobs",
    "publish NAME": "steps",
    "lock --name": "",
    "deploy online --name": "",
    "deploy batch --name": "",
    "env bake --to": "",
    "env bake --onto": "environments",
    "download --output": "",
}
_OF_GROUP = {"env": "environments", "schedule": "schedules"}
_OF_METAVAR = {
    "PIPELINE": "pipelines",
    "STEP": "steps",
    "RUN": "runs",
    "JOB": "jobs",
    "MODEL": "models",
    "TARGET": "runs models",
    "PROFILE": "profiles",
    "ENCODER": "encoders",
    "NAME": "",
}


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    completion = commands.add_parser(
        "completion",
        help="Print the script that completes commands, options and names in a shell.",
        description="Print the script that completes commands, options, and the names of pipelines,"
        " steps, runs, models and encoders. For example, in bash: tfhub-blocks completion bash > "
        + PLACES["bash"],
    )
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    completion.set_defaults(command=_completion)


def _completion(options: argparse.Namespace) -> int:
    print(completion_script(options.parser, options.shell))
    return DONE


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script of a parser for a shell.

    Example:
        >>> "complete" in completion_script(argparse.ArgumentParser("toy"), "bash")
        True
    """
    import shtab

    all_kinds = set()
    for command, action in _actions(parser):
        if (kinds := _kinds(command, action)) is not None:
            all_kinds.add(kinds)
            name = _function(kinds)
            complete: Any = {"zsh": name, "bash": name, "fish": f"({name})"}
        elif action.type is Path:
            complete = shtab.FILE
        else:
            continue
        vars(action)["complete"] = complete  # where shtab looks
    preamble = "\n".join(_functions(shell, sorted(all_kinds)))
    return str(shtab.complete(parser, shell=shell, preamble=preamble))


def _function(kinds: str) -> str:
    return f"_tfhub_blocks_{'_'.join(kinds.split()) or 'nothing'}"


def _actions(
    parser: argparse.ArgumentParser, command: str = ""
) -> Iterator[tuple[str, argparse.Action]]:
    """Yield each argument that takes a value, with its command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            choices: Mapping[str, argparse.ArgumentParser] = action.choices
            for name, child in choices.items():
                yield from _actions(child, f"{command} {name}".strip())
        elif action.nargs != 0:
            yield command, action


def _kinds(command: str, action: argparse.Action) -> str | None:
    """Return the kinds of names that an argument takes, or None if it takes something else."""
    if action.choices:
        return None
    shown = max(action.option_strings, key=len, default="") or str(action.metavar)
    if (found := _OF_COMMAND.get(f"{command} {shown}")) is not None:
        return found
    if shown == "--profile":
        return "profiles"
    if command.startswith("encoder ") and shown == "DIR":
        return "encoders"
    if shown == "NAME" and command.partition(" ")[0] in _OF_GROUP:
        return _OF_GROUP[command.partition(" ")[0]]
    return _OF_METAVAR.get(str(action.metavar))


def _functions(shell: str, all_kinds: list[str]) -> Iterator[str]:
    """Yield a function of the shell for each combination of kinds."""
    program = shlex.join((sys.executable, "-ISB", str(_NAMES)))
    for kinds in all_kinds:
        name = _function(kinds)
        ask = f"{program} {kinds}" if kinds else "true"
        files = "encoders" in kinds or "models" in kinds or "runs" in kinds
        if shell == "bash":
            paths = 'compgen -f -- "$1";' if files else ""
            offered = f'compgen -W "$({ask} 2>/dev/null)" -- "$1"; {paths}'
            yield f"{name}() {{ {{ {offered} }} | sort -u; }}"
        elif shell == "zsh":
            paths = "; _files" if files else ""
            yield f'{name}() {{ compadd -- ${{(f)"$({ask} 2>/dev/null)"}}{paths} }}'
        else:
            yield f"function {name}; {ask} 2>/dev/null; end"
