"""``promote``: copy a registered model to where others use it, by a second person's decision."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.lineage.local_registrations import Registration
    from tfhub_blocks.control.promotion.promoting import Proposal


_VERSIONS = ("models", "environments")
NEEDS = (
    AzureNeeds(
        "promote",
        (
            *("read", "jobs/read", "datastores/read", "datastores/listSecrets/action"),
            *(f"{kind}/versions/{verb}" for kind in _VERSIONS for verb in ("read", "write")),
            *("models/read", "data/versions/read", "components/versions/read"),
        ),
        blobs="write",
    ),
)


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    promote = commands.add_parser(
        "promote",
        help="Copy a registered model to another workspace or registry, if it meets all "
        "conditions.",
        description="Copy a model that is registered locally or in a workspace to the workspace "
        "or registry of a profile, with the statement of this decision. Conditions: the lineage "
        "is valid, the evidence meets every threshold, the model has an owner, and the promoter "
        "did not build the model. The exit status is 1 if a condition is not met.",
    )
    promote.add_argument("what", metavar="MODEL", help="registered model: MODEL or MODEL:VERSION")
    promote.add_argument(
        "--to",
        required=True,
        metavar="PROFILE",
        help="profile that sets the destination and the conditions",
    )
    promote.add_argument(
        "--from",
        dest="source",
        metavar="PROFILE",
        help="profile of the workspace in which a job registered the model (default: the local "
        "registry)",
    )
    promote.add_argument(
        "--from-config",
        type=Path,
        metavar="F",
        help="config.json of the workspace of --from (default: the nearest in this folder or "
        "above)",
    )
    promote.add_argument(
        "--reason", required=True, metavar="TEXT", help="reason for the promotion, in one line"
    )
    promote.add_argument(
        "--dry-run", action="store_true", help="print the conditions and their state, copy nothing"
    )
    promote.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    promote.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    add_workspace(promote)
    promote.set_defaults(command=_promote)


def _promote(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("promote", [options.to], note=False):
        return _promote_model(options)


def _promote_model(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.project.profiles import read_profile
    from tfhub_blocks.control.promotion.promoting import as_record, check_reason, promote, propose
    from tfhub_blocks.control.workspace.connection import connect

    reason, profile = check_reason(options.reason), read_profile(options.to)
    if options.from_config and not options.source:
        raise BlocksError(
            "promote",
            "--from-config",
            "--from-config needs --from, which is missing",
            "",
            "Add --from PROFILE, or leave --from-config out for a model in the local registry",
        )
    connection = connect(options.workspace_config, profile.promotion.registry)
    missing: list[str] = []
    fetched = _fetch(options, missing) if options.source else None
    archive = Archive(options.runs_dir)
    proposal = propose(options.what, archive, profile, connection, reason, fetched)
    record = as_record(proposal) | {"not_fetched": missing}
    if not options.json:
        _print(proposal)
        for reason_missing in missing:
            print(f"note: not fetched: {reason_missing}")
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
    digest = (case.model.digest[:12] or "unknown") if case.model else "missing"
    print(f"model    {case.version.label}, digest {digest}, owner {case.owner or 'unknown'}")
    print(f"to       {proposal.connection}, as {place or 'unknown'}, profile {case.profile.name}")
    print(f"authors  {', '.join(case.authors) or 'unknown'}")
    print(f"promoter {', '.join(case.promoters) or 'unknown'}")
    if case.release:
        relation = "replayed" if case.release.is_replay else "proven"
        relation += " by the model's run"
        print(f"release  {case.release.lock.name}, {relation}")
    for name, found in proposal.refused.items():
        print(f"{'refused ' if found else 'met     '} {name}")
    for digest in case.contrary:
        print(f"note: evidence {digest} about this model did not meet its thresholds")
    if not case.profile.promotion.two_persons:
        print(f"note: profile {case.profile.name} does not require a second person")
    for found in proposal.refused.values():
        for error in found:
            print(f"error: {error}", file=sys.stderr)
    if proposal.decided and place:
        print(f"already promoted: {place.told(case.profile.name)}")
