"""``ci``: the workflow files of a repository, and what their jobs call."""

# decision 109

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.automation.setup_commands import Place, SetupCommand

SYSTEMS = ("github", "azure-devops")
MODES = ("update", "new", "hide-and-new")


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    group = commands.add_parser(
        "ci",
        help="Write the workflow files of a repository: write, check, setup.",
        description="Write workflow files for GitHub Actions or Azure Pipelines from "
        "pipelines/ci.toml and the profiles, and keep them up to date. The other actions are what "
        "the jobs of these files call.",
    ).add_subparsers(metavar="ACTION", required=True)
    write = group.add_parser("write", help="Write the workflow files, or bring them up to date.")
    write.set_defaults(command=_write)
    check = group.add_parser(
        "check",
        help="Compare the workflow files with their settings.",
        description="Print the differences between the workflow files and what `ci write` would "
        "write. The exit status is 1 if a file was edited, is old or is missing.",
    )
    check.set_defaults(command=_check)
    setup = group.add_parser(
        "setup",
        help="Print what must exist in Azure and in the repository, or create it with --run.",
        description="Print the commands that create the applications, their federated credentials "
        "and roles, the environments with their reviewers, the protection of the branch, and "
        "CODEOWNERS. No password or key is created.",
    )
    setup.add_argument("--repository", required=True, metavar="OWNER/NAME", help="the repository")
    setup.add_argument("--subscription", required=True, metavar="ID", help="Azure subscription")
    setup.add_argument("--resource-group", required=True, metavar="NAME", help="resource group")
    setup.add_argument("--workspace", required=True, metavar="NAME", help="name of the workspace")
    setup.add_argument("--tenant", required=True, metavar="ID", help="Microsoft Entra tenant")
    setup.add_argument(
        "--reviewer",
        action="append",
        default=[],
        metavar="LOGIN",
        help="user who approves promotions; may be repeated",
    )
    setup.add_argument("--run", action="store_true", help="run the commands, one after the other")
    setup.set_defaults(command=_setup)
    for parser in (write, setup):
        parser.add_argument("system", choices=SYSTEMS, help="where the repository is")
    check.add_argument(
        "system",
        choices=SYSTEMS,
        nargs="?",
        help="where the repository is (default: each for which there are files)",
    )
    _register_calls(group)


def _register_calls(group: Any) -> None:
    """Add what the jobs call."""
    comment = group.add_parser("comment", help="Write a review into the comment of its change.")
    comment.add_argument("folder", metavar="DIR", type=Path, help="folder with the review")
    comment.add_argument(
        "--mode",
        choices=MODES,
        default="update",
        help="update one comment (default), write a new one, or hide the old ones as well",
    )
    comment.add_argument(
        "--change", default="", metavar="N", help="number of the change (default: from the folder)"
    )
    comment.add_argument("--head", required=True, metavar="COMMIT", help="commit of the review")
    comment.set_defaults(command=_comment)
    approvals = group.add_parser("approvals", help="Print who approved a commit of a change.")
    approvals.add_argument("change", metavar="N", help="number of the change")
    approvals.add_argument("--head", required=True, metavar="COMMIT", help="commit that counts")
    approvals.set_defaults(command=_approvals)
    reviewer = group.add_parser("reviewer", help="Print the address of who approved this run.")
    reviewer.add_argument("--name", action="store_true", help="print the name instead")
    reviewer.set_defaults(command=_reviewer)
    propose = group.add_parser("propose", help="Propose a branch as a change, unless that is done.")
    propose.add_argument("branch", metavar="BRANCH", help="branch with the change")
    propose.add_argument("--into", required=True, metavar="BRANCH", help="branch to change")
    propose.add_argument("--title", required=True, metavar="TEXT", help="title of the change")
    propose.set_defaults(command=_propose)
    spent = group.add_parser(
        "spent", help="Write the spending and the durations that `review --spent` reads."
    )
    spent.add_argument("file", metavar="FILE", type=Path, help="file to write")
    spent.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    spent.set_defaults(command=_spent)


def _write(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.automation.ci_settings import read_project
    from tfhub_blocks.control.automation.written_files import wanted_files, write_files

    files = wanted_files(read_project(), options.system)
    for path, state in write_files(files, options.system):
        print(f"{path}: {state}")
    return DONE


def _check(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.automation.ci_settings import read_project
    from tfhub_blocks.control.automation.written_files import (
        file_differences,
        wanted_files,
        written_systems,
    )

    systems = [options.system] if options.system else written_systems()
    if not systems:
        raise BlocksError(
            "ci check",
            "SYSTEM",
            "this folder has no workflow files of tfhub-blocks",
            "",
            "Run `tfhub-blocks ci write github` or `tfhub-blocks ci write azure-devops`",
        )
    project, is_old = read_project(), False
    for system in systems:
        text = file_differences(wanted_files(project, system), system)
        sys.stdout.write(text)
        if text:
            print(f"run `tfhub-blocks ci write {system}` and commit the result", file=sys.stderr)
        is_old = is_old or bool(text)
    return FAILED if is_old else DONE


def _setup(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.automation.ci_settings import read_project
    from tfhub_blocks.control.automation.setup_commands import (
        OWNERS_FILE,
        Place,
        azure_devops_commands,
        code_owners,
        github_commands,
    )

    project = read_project()
    place = Place(
        options.repository,
        options.subscription,
        options.resource_group,
        options.workspace,
        tuple(options.reviewer),
    )
    _check_place(place)
    make = github_commands if options.system == "github" else azure_devops_commands
    commands = list(make(project, place))
    if options.run:
        _run(commands, options.tenant)
    else:
        print(f"TENANT={options.tenant}")
        for command in commands:
            print(f"# {command.why}\n{command.shell()}")
    if text := code_owners(project):
        print(f"# {OWNERS_FILE}: these people review locks and profiles")
        print(text, end="")
    return DONE


def _check_place(place: "Place") -> None:
    if place.repository.count("/") != 1 or not all(place.repository.split("/")):
        raise BlocksError(
            "ci setup",
            f"--repository {place.repository}",
            f"{place.repository!r} is not the name of a repository",
            "OWNER/NAME",
            "Pass --repository OWNER/NAME",
        )


def _run(commands: "list[SetupCommand]", tenant: str) -> None:
    from tfhub_blocks.control.automation.setup_commands import run_command

    known = {"TENANT": tenant}
    for command in commands:
        print(f"# {command.why}\n{command.shell()}", flush=True)
        run_command(command, known)


def _comment(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.automation.forges import find_forge
    from tfhub_blocks.control.automation.review_comments import comment_review

    forge = find_forge()
    print(comment_review(forge, options.folder, options.mode, options.change, options.head))
    return DONE


def _approvals(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.automation.forges import find_forge

    for name in find_forge().approvals(options.change, options.head):
        print(name)
    return DONE


def _reviewer(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.automation.forges import find_forge

    found = find_forge().reviewers()
    if not found:
        raise BlocksError(
            "ci reviewer",
            "environment",
            "nobody approved this run",
            "an environment with required reviewers, who are the second person of promote",
            "Run `tfhub-blocks ci setup`, which prints the settings of the environment",
        )
    name, address = found[0]
    print(name if options.name else address)
    return DONE


def _propose(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.automation.forges import find_forge

    print(find_forge().propose(options.branch, options.into, options.title))
    return DONE


def _spent(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.review.past_spending import recorded_spending

    recorded_spending(options.runs_dir).write(options.file)
    print(options.file)
    return DONE
