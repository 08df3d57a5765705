"""``withdraw``: state that something, and what was built from it, must not be used any more."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds

if TYPE_CHECKING:
    from tfhub_blocks.control.lineage.withdrawing import Subject


NEEDS = (
    AzureNeeds(
        "withdraw --workspace",
        (
            *("read", "models/read", "models/versions/read", "models/versions/write"),
            *("schedules/read", "onlineEndpoints/read", "onlineEndpoints/deployments/read"),
            *("batchEndpoints/read", "batchEndpoints/deployments/read"),
        ),
    ),
)


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    withdraw = commands.add_parser(
        "withdraw",
        help="Withdraw a model, an encoder, data, a licence or an item.",
        description="Write a statement into pipelines/withdrawals/ that something must not be used "
        "any more. From then on verify, run, serve, submit, promote and deploy refuse it, and what "
        "was built from it. Commit the statement: production reads the commit. Nothing is deleted.",
    )
    withdraw.add_argument(
        "what",
        metavar="WHAT",
        help="MODEL:VERSION, encoder (name, handle, digest or folder of its pin), snapshot or other"
        " output (folder or digest), azureml:NAME:VERSION of a data asset, licence:NAME, or item"
        " (its id, its path in the source, or a file with its content)",
    )
    withdraw.add_argument(
        "--reason", required=True, metavar="TEXT", help="reason in one line, for whoever is refused"
    )
    withdraw.add_argument(
        "--restore",
        action="store_true",
        help="write a statement that ends the withdrawal of WHAT",
    )
    withdraw.add_argument(
        "--workspace",
        action="store_true",
        help="tag the affected models of the workspace too, so that each machine sees it, or remove"
        " the tags with --restore",
    )
    withdraw.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    add_workspace(withdraw)
    withdraw.set_defaults(command=_withdraw)


def _withdraw(options: argparse.Namespace) -> int:
    from tfhub_blocks.commands.lineages import used_lines
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.lineage.use_drawings import summary_lines
    from tfhub_blocks.control.lineage.withdrawing import find_subject, restore, withdraw

    archive = Archive(options.runs_dir)
    subject = find_subject(options.what, archive)
    if options.restore:
        ended = restore(subject, options.reason)
        for it, path in ended:
            print(f"{it.kind} {it.name} may be used again: {path}")
        if options.workspace:
            _untag(options.workspace_config, {it.restores for it, _ in ended})
        print("commit the statement, so that production reads it")
        return DONE
    found, path = withdraw(subject, options.reason, archive)
    print(f"withdrawn: {found.kind} {found.name}")
    print(f"statement: {path}")
    for line in summary_lines(subject.uses, archive):
        print(line)
    for line in used_lines(options.what, subject.uses, options.workspace, options.workspace_config):
        print(line)
    if options.workspace:
        _tag(options.workspace_config, subject, found.digest)
    print("commit the statement, so that production reads it")
    return DONE


def _untag(config: Path | None, withdrawals: set[str]) -> None:
    from tfhub_blocks.control.workspace.connection import connect
    from tfhub_blocks.control.workspace.withdrawn_models import untag_models

    connection = connect(config)
    changed = ", ".join(untag_models(connection, withdrawals))
    print(f"tags removed from models of workspace {connection.name}: {changed or 'none'}")


def _tag(config: Path | None, subject: "Subject", digest: str) -> None:
    from tfhub_blocks.control.workspace.connection import connect
    from tfhub_blocks.control.workspace.withdrawn_models import tag_models

    connection = connect(config)
    digests = {*subject.digests, *(it.digest for it in subject.uses.reached.values())}
    tagged = ", ".join(tag_models(connection, digests, digest))
    print(f"models tagged in workspace {connection.name}: {tagged or 'none'}")
