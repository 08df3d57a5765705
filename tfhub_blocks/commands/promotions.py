"""``promote``: a registered model to where others use it, by somebody who did not make it."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.lineage.local_registrations import Registration
    from tfhub_blocks.control.promotion.promoting import Proposal


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    promote = commands.add_parser(
        "promote",
        help="let a registered model be used elsewhere: with evidence, lineage and two persons",
        description="Put a model that is registered on this machine, or in a workspace, into the "
        "workspace or registry of a profile, with the decision to do so, if its chain holds, its "
        "evidence met every threshold, somebody answers for it, and somebody else than who made it "
        "asks. Status 1 if a condition is not met.",
    )
    promote.add_argument("what", metavar="MODEL", help="a registered model, or MODEL:VERSION")
    promote.add_argument(
        "--to", required=True, metavar="PROFILE", help="the profile that says where, and how"
    )
    promote.add_argument(
        "--from",
        dest="source",
        metavar="PROFILE",
        help="the profile of the workspace in which a job registered it; else on this machine",
    )
    promote.add_argument(
        "--from-config",
        type=Path,
        metavar="F",
        help="that workspace's config.json; else the one in this folder or above",
    )
    promote.add_argument("--reason", required=True, metavar="TEXT", help="why, in a line")
    promote.add_argument(
        "--dry-run", action="store_true", help="say what would happen and what is missing"
    )
    promote.add_argument("--json", action="store_true", help="print one object on stdout")
    promote.add_argument(
        "--runs-dir", type=Path, default=Path(".runs"), metavar="DIR", help="where runs are (.runs)"
    )
    add_workspace(promote)
    promote.set_defaults(command=_promote)


def _promote(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.project.profiles import read_profile
    from tfhub_blocks.control.promotion.promoting import as_record, check_reason, promote, propose
    from tfhub_blocks.control.workspace.connection import connect

    reason, profile = check_reason(options.reason), read_profile(options.to)
    if options.from_config and not options.source:
        raise BlocksError(
            "promote",
            "--from-config",
            "nothing says what the model is promoted from",
            "--from PROFILE with it",
            "name the profile, or leave this out for a model of this machine",
        )
    connection = connect(options.workspace_config, profile.promotion.registry)
    missing: list[str] = []
    fetched = _fetch(options, missing) if options.source else None
    archive = Archive(options.runs_dir)
    proposal = propose(options.what, archive, profile, connection, reason, fetched)
    record = as_record(proposal) | {"not_fetched": missing}
    if not options.json:
        _print(proposal)
        for told in missing:
            print(f"note: not fetched: {told}")
    lines: list[str] = []
    if proposal.holds and not options.dry_run:

        def on_change(asset: Any, state: str) -> None:
            if state in ("published", "already exists"):
                lines.append(f"{asset.kind:<8} {asset.name}:{asset.version} {state}")

        promotion, path = promote(proposal, options.runs_dir, on_change)
        record |= {
            "decision": promotion.digest if promotion else proposal.decided,
            "statement": str(path) if path else "",
            "decided": promotion.decided if promotion else "",
        }
        lines += [f"decision {path}"] if path else []
    if options.json:
        print(json.dumps(record, indent=1, ensure_ascii=False))
    for line in () if options.json else lines:
        print(line)
    return DONE if proposal.holds else FAILED


def _fetch(options: argparse.Namespace, missing: list[str]) -> "Registration":
    from tfhub_blocks.control.project.profiles import read_profile
    from tfhub_blocks.control.promotion.fetched_model import connect_source, fetch_model

    source = connect_source(read_profile(options.source), options.from_config)
    return fetch_model(options.what, source, options.runs_dir, missing.append)


def _print(proposal: "Proposal") -> None:
    case, place = proposal.case, proposal.place
    digest = (case.model.digest[:12] or "unknown") if case.model else "not here"
    print(f"model    {case.version.label}, digest {digest}, owner {case.owner or 'nobody'}")
    print(f"to       {proposal.connection}, as {place or 'nothing'}, profile {case.profile.name}")
    print(f"made by  {', '.join(case.authors) or 'nobody known'}")
    print(f"by       {', '.join(case.promoters) or 'nobody known'}")
    if case.release:
        told = "replayed" if case.release.is_replay else "proven by it"
        print(f"release  {case.release.lock.name}, {told}")
    for name, found in proposal.refused.items():
        print(f"{'refused ' if found else 'holds   '} {name}")
    for digest in case.contrary:
        print(f"note: other evidence about it did not meet its thresholds: {digest}")
    if not case.profile.promotion.two_persons:
        print(f"note: profile {case.profile.name} asks for one person alone")
    for found in proposal.refused.values():
        for error in found:
            print(f"error: {error}", file=sys.stderr)
    if proposal.decided and place:
        print(f"is there: {place.told(case.profile.name)}")
