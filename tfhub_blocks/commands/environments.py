"""``env``: the environments that steps are pinned to."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import ERROR_PREFIX


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    env = commands.add_parser(
        "env",
        help="Manage the environments that steps are pinned to: show, lock, check, diff, bake.",
    ).add_subparsers(metavar="ACTION", required=True)
    show = env.add_parser("show", help="Show an environment and the steps that are pinned to it.")
    lock = env.add_parser(
        "lock",
        help="Write the package lock, the base image's digest, and the version that steps name.",
    )
    lock.add_argument(
        "--upgrade",
        action="store_true",
        help="lock the newest packages and base image (default: keep the locked ones)",
    )
    check = env.add_parser(
        "check", help="Check locks, versions and imports against each other, without a network."
    )
    for command, function in ((show, _env_show), (lock, _env_lock), (check, _env_check)):
        command.add_argument(
            "names",
            metavar="NAME",
            nargs="*",
            help="name of an environment (default: all environments)",
        )
        command.set_defaults(command=function)
    diff = env.add_parser(
        "diff",
        help="Compare two environments, package by package.",
        description="Compare two environments, package by package. Name an environment by its "
        "name, its folder, its lock file, or REVISION:NAME for a revision in git.",
    )
    diff.add_argument("before", metavar="A", help="the first environment")
    diff.add_argument("after", metavar="B", help="the second environment")
    diff.add_argument("--json", action="store_true", help="print one JSON object")
    diff.set_defaults(command=_env_diff)
    bake = env.add_parser(
        "bake",
        help="Create an environment whose image contains a pinned encoder.",
        description="Write components/environments/NAME: an environment with one more layer, "
        "which contains a pinned encoder. The new environment's version covers the encoder's "
        "digest. The table [environments] of a profile selects the steps that run in it.",
    )
    bake.add_argument("encoder", metavar="ENCODER", type=Path, help="folder of a pinned encoder")
    bake.add_argument(
        "--onto", default="gpu", metavar="ENV", help="environment to extend (default: gpu)"
    )
    bake.add_argument(
        "--to", metavar="NAME", help="name of the new environment (default: ENV-ENCODER)"
    )
    bake.set_defaults(command=_env_bake)


def _env_show(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environments.environment_catalog import describe, find_environments

    for environment in find_environments(options.names):
        print(environment.key)
        for title, text in describe(environment):
            print(f"  {title:<11} {text}")
    return DONE


def _env_lock(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environments.environment_catalog import find_environments
    from tfhub_blocks.control.environments.environment_locks import lock

    for environment in find_environments(options.names):
        is_changed = False
        for line in lock(environment, options.upgrade):
            print(line)
            is_changed = True
        if not is_changed:
            print(f"{environment.folder}: no change")
    return DONE


def _env_check(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environments.environment_catalog import find_environments
    from tfhub_blocks.control.environments.environment_checks import check, check_strangers

    environments = find_environments(options.names)
    findings = check(environments)
    if not options.names:
        findings += check_strangers(environments)
    for finding in findings:
        print(f"{ERROR_PREFIX}{finding}", file=sys.stderr)
    return FAILED if findings else DONE


def _env_diff(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environments.environment_diffs import compare, find_definition

    comparison = compare(find_definition(options.before), find_definition(options.after))
    if options.json:
        print(json.dumps(comparison.as_dict(), indent=1))
    else:
        print("\n".join(comparison.lines()))
    return DONE


def _env_bake(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environments.environment_bakes import ENCODERS, bake

    baked = bake(options.encoder, options.onto, options.to)
    continued = baked.description.continues
    print(f"{baked.where}: {baked.name}:{baked.version}, which extends {continued}")
    print(
        f"{baked.where}/{ENCODERS}: the encoder, for the image; commit the other files, not this "
        "folder"
    )
    print("To run steps in this environment, add to a profile:")
    print(f'[environments]\n{continued.partition(":")[0]} = "{baked.name}"')
    return DONE
