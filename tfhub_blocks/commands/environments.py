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
        "env", help="the environments that steps are pinned to: show, lock, check, diff, bake"
    ).add_subparsers(metavar="WHAT", required=True)
    show = env.add_parser("show", help="what an environment is, and which steps are pinned to it")
    lock = env.add_parser(
        "lock", help="write the lock, the base image's digest, and the version that steps name"
    )
    lock.add_argument("--upgrade", action="store_true", help="take what is newest, not what is")
    check = env.add_parser("check", help="find what does not fit together, without a network")
    for command, function in ((show, _env_show), (lock, _env_lock), (check, _env_check)):
        command.add_argument("names", metavar="NAME", nargs="*", help="all, if none is named")
        command.set_defaults(command=function)
    diff = env.add_parser(
        "diff",
        help="compare two environments, package by package",
        description="Compare two environments, package by package. Each is named by its name, its "
        "folder, a lock file, or REVISION:NAME for what git holds.",
    )
    diff.add_argument("before", metavar="A")
    diff.add_argument("after", metavar="B")
    diff.add_argument("--json", action="store_true", help="print one object")
    diff.set_defaults(command=_env_diff)
    bake = env.add_parser(
        "bake",
        help="make an environment whose image holds a pinned encoder",
        description="Write components/environments/NAME: what an environment holds, and a layer "
        "with a pinned encoder, whose digest its version covers. A profile's [environments] says "
        "which steps run in it.",
    )
    bake.add_argument("encoder", metavar="ENCODER", type=Path, help="its pinned folder")
    bake.add_argument("--onto", default="gpu", metavar="ENV", help="what it continues (gpu)")
    bake.add_argument("--to", metavar="NAME", help="the new one's name (ENV-ENCODER)")
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
        said = False
        for line in lock(environment, options.upgrade):
            print(line)
            said = True
        if not said:
            print(f"{environment.folder}: nothing to change")
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
    print(f"{baked.where}: {baked.name}:{baked.version}, which continues {continued}")
    print(f"{baked.where}/{ENCODERS}: the encoder, for the image; commit the rest, not this")
    print("so that steps run in it, write into a profile:")
    print(f'[environments]\n{continued.partition(":")[0]} = "{baked.name}"')
    return DONE
