"""``verify``, ``sign``, ``lineage``, ``card``: check, sign and draw the lineage of outputs."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file

if TYPE_CHECKING:
    from tfhub_blocks.control.lineage.findings import Verdict
    from tfhub_blocks.control.lineage.uses import Uses

_ENDPOINTS = ("onlineEndpoints", "batchEndpoints")
NEEDS = (
    AzureNeeds(
        "lineage --workspace",
        (
            *("read", "schedules/read"),
            *(f"{kind}/{it}" for kind in _ENDPOINTS for it in ("read", "deployments/read")),
        ),
    ),
)
_SHOWN = 20
_FORMATS = ("text", "mermaid", "html")
_TARGET = "run, registered model (MODEL or MODEL:VERSION), or folder of an output"


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    verify = commands.add_parser(
        "verify",
        help="Verify the lineage of a model, a run or a folder.",
        description="Read every byte of the lineage, back to the data and encoders that no step "
        "wrote, and compare the files with statements, run records, evidence and registry. The "
        "exit status is 1 if there is a fault or a part is missing.",
    )
    verify.add_argument("what", metavar="TARGET", help=_TARGET)
    verify.add_argument(
        "--partial", action="store_true", help="report missing parts without failing"
    )
    verify.add_argument(
        "--key",
        type=Path,
        metavar="PUB",
        help="public key (PEM) with which each statement must be signed",
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    _add_runs_dir(verify)
    verify.set_defaults(command=_verify)
    sign = commands.add_parser(
        "sign",
        help="Sign each statement in a lineage with your private key.",
        description="Verify the lineage, then write a DSSE envelope next to each of its outputs. "
        "`verify --key PUB` checks the signatures offline.",
    )
    sign.add_argument("what", metavar="TARGET", help=_TARGET)
    sign.add_argument(
        "--key",
        required=True,
        metavar="PRIV",
        help="private key: a PEM file (Ed25519, or ECDSA on P-256), or a P-256 key in Azure Key "
        "Vault, azurekeyvault://VAULT/KEY[/VERSION]",
    )
    sign.add_argument(
        "--public", type=Path, metavar="PUB", help="file for the public key, for verify --key"
    )
    _add_runs_dir(sign)
    sign.set_defaults(command=_sign)
    lineage = commands.add_parser(
        "lineage",
        help="Draw the lineage of an output, or the outputs that were built from it.",
        description="Draw the lineage of an output back to its source files. With --forward or "
        "--uses, draw every output and registered model that was built from a snapshot, an encoder "
        "or an item.",
    )
    lineage.add_argument("what", metavar="TARGET", nargs="?", help=_TARGET)
    lineage.add_argument(
        "--forward", action="store_true", help="show what was built from TARGET, like --uses"
    )
    lineage.add_argument(
        "--uses",
        metavar="X",
        help="show what was built from X: a snapshot or an encoder (folder, digest, name, "
        "handle), an item (its id, its path in the source, or a file with its content), "
        "licence:NAME, or azureml:NAME:VERSION of a data asset",
    )
    lineage.add_argument(
        "--workspace",
        action="store_true",
        help="with --forward or --uses, ask the workspace for its endpoints and schedules too",
    )
    add_workspace(lineage)
    lineage.add_argument("--format", choices=_FORMATS, help="format of the drawing (default: text)")
    lineage.add_argument(
        "--output", type=Path, metavar="F", help="file for the drawing (default: standard output)"
    )
    _add_runs_dir(lineage)
    lineage.set_defaults(command=_lineage)
    card = commands.add_parser(
        "card",
        help="Write a model's card and its bill of materials.",
        description="Verify the lineage of a model, and write card.md, card.html and bom.cdx.json, "
        "a bill of materials in CycloneDX format.",
    )
    card.add_argument("what", metavar="MODEL", help=_TARGET)
    card.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="directory for the three files"
    )
    card.add_argument(
        "--purpose",
        default="",
        metavar="TEXT",
        help="purpose of the model (default: the purpose in the registry)",
    )
    card.add_argument(
        "--limit",
        dest="limits",
        action="append",
        default=[],
        metavar="TEXT",
        help="use for which the model is not meant; may be repeated",
    )
    _add_runs_dir(card)
    card.set_defaults(command=_card)


def _add_runs_dir(parser: Any) -> None:
    parser.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )


def _verify(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.lineage.lineage_targets import find_chain, missing_outputs
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.lineage.signatures import check_signatures, read_public_key
    from tfhub_blocks.control.lineage.verification import verify

    key = read_public_key(options.key) if options.key else None
    archive = Archive(options.runs_dir)
    chain = find_chain(options.what, archive, "verify")
    verdict = verify(chain, archive)
    missing_outputs(chain, archive, verdict)
    if key is not None:
        check_signatures(chain, key, verdict)
    holds = verdict.holds(options.partial)
    if options.json:
        print(json.dumps(verdict.as_dict() | {"holds": holds}, indent=1))
    else:
        _print(verdict, holds)
    return DONE if holds else FAILED


def _print(verdict: "Verdict", holds: bool) -> None:
    for heading, findings in (("fault", verdict.faults), ("missing", verdict.gaps)):
        for finding in findings[:_SHOWN]:
            print(f"{heading} [{finding.kind}] {finding}")
        if len(findings) > _SHOWN:
            print(f"and {len(findings) - _SHOWN} more; --json prints all")
    for note in verdict.notes:
        print(f"note: {note}")
    for source in verdict.sources:
        print(f"external input: {source}")
    print(
        f"{verdict.title}: {verdict.outputs} outputs, {verdict.files} files read; "
        f"{_count(verdict.faults, 'fault')}, {_count(verdict.gaps, 'part')} missing"
    )
    if not holds:
        print("the lineage is not valid", file=sys.stderr)


def _count(found: list[Any], word: str) -> str:
    return f"{len(found)} {word}{'' if len(found) == 1 else 's'}"


def _lineage(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.lineage.chain_drawing import draw, mermaid, text_lines
    from tfhub_blocks.control.lineage.drawing_page import drawing_page
    from tfhub_blocks.control.lineage.lineage_targets import find_chain
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.lineage.use_drawings import draw_uses, summary_lines
    from tfhub_blocks.control.lineage.uses import find_uses

    if (options.what is None) == (options.uses is None):
        given = "both TARGET and --uses are" if options.uses else "neither TARGET nor --uses is"
        raise BlocksError(
            "lineage",
            "TARGET",
            f"{given} set",
            "either TARGET or --uses X",
            "Run `tfhub-blocks lineage TARGET`, or `tfhub-blocks lineage --uses X`",
        )
    archive = Archive(options.runs_dir)
    forward, summary = options.forward or options.uses is not None, []
    if options.workspace and not forward:
        raise BlocksError(
            "lineage",
            "--workspace",
            "--workspace needs --forward or --uses, which is missing",
            "",
            "Add --forward, or leave --workspace out",
        )
    if forward:
        text = options.uses or options.what
        uses = find_uses(text, archive)
        drawing = draw_uses(uses)
        workspace = options.workspace_config if options.workspace else None
        summary = [
            *summary_lines(uses, archive),
            *used_lines(text, uses, options.workspace, workspace),
        ]
    else:
        drawing = draw(find_chain(options.what, archive, "lineage"))
    if options.format == "mermaid":
        text = mermaid(drawing)
    elif options.format == "html":
        text = drawing_page(drawing, summary)
    else:
        text = "\n".join([*text_lines(drawing, forward), *summary]) + "\n"
    if options.output is None:
        print(text, end="")
    else:
        write_file(options.output, text.encode())
        print(options.output)
    return DONE


def used_lines(text: str, uses: "Uses", ask: bool, config: Path | None) -> Iterator[str]:
    """Yield the locks and schedules of the project that use something, and those of a workspace.

    Args:
        text: The subject, as the user named it.
        uses: Its uses.
        ask: True to ask the workspace for its endpoints and schedules.
        config: The workspace's file, or None for the nearest.
    """
    from tfhub_blocks.control.lineage.uses import affected

    signs = affected(text, uses)
    from tfhub_blocks.control.schedules.affected_schedules import (
        affected_files,
        affected_locks,
        affected_schedules,
    )

    locks = list(affected_locks(signs))
    yield f"release locks: {', '.join(locks) or 'none'}"
    files = ", ".join(affected_files(signs, set(locks)))
    yield f"schedules in pipelines/schedules: {files or 'none'}"
    if not ask:
        yield "endpoints and schedules of a workspace: not asked; --workspace asks"
        return
    from tfhub_blocks.control.deployments.affected_endpoints import affected_endpoints
    from tfhub_blocks.control.workspace.connection import connect

    connection = connect(config)
    names = {*map(str, (*uses.retrain, *uses.measured)), *locks}
    schedules = ", ".join(affected_schedules(connection, signs))
    yield f"schedules in workspace {connection.name}: {schedules or 'none'}"
    endpoints = "; ".join(affected_endpoints(connection, signs, names))
    yield f"endpoints in workspace {connection.name}: {endpoints or 'none'}"


def _card(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.cards.bill_of_materials import bill_of_materials
    from tfhub_blocks.control.cards.card_texts import markdown, page
    from tfhub_blocks.control.cards.cards import model_card
    from tfhub_blocks.control.cards.model_facts import OwnerStatements, gather
    from tfhub_blocks.control.lineage.lineage_targets import find_chain
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.lineage.verification import verify

    archive = Archive(options.runs_dir)
    chain = find_chain(options.what, archive, "card")
    verdict = verify(chain, archive)
    refuse_faults("card", options.what, verdict)
    facts = gather(chain, archive, OwnerStatements(options.purpose, tuple(options.limits)))
    contents = model_card(facts)
    texts = {
        "card.md": markdown(contents),
        "card.html": page(contents),
        "bom.cdx.json": json.dumps(bill_of_materials(facts), indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        write_file(options.to / name, text.encode())
        print(options.to / name)
    for gap in verdict.gaps:
        print(f"warning: not in the card, since a part is missing: {gap}", file=sys.stderr)
    return DONE


def _sign(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.lineage.lineage_targets import find_chain, missing_outputs
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.lineage.signatures import public_pem, read_signer, sign_chain
    from tfhub_blocks.control.lineage.verification import verify

    signer = read_signer(options.key)
    archive = Archive(options.runs_dir)
    chain = find_chain(options.what, archive, "sign")
    verdict = verify(chain, archive)
    missing_outputs(chain, archive, verdict)
    refuse_faults("sign", options.what, verdict)
    for path in sign_chain(chain, signer):
        print(path)
    if options.public:
        write_file(options.public, public_pem(signer.public))
        print(options.public)
    return DONE


def refuse_faults(where: str, what: str, verdict: "Verdict") -> None:
    """Refuse an output whose lineage has a fault; ``sign`` also refuses a lineage with gaps.

    Raises:
        BlocksError: The lineage is not valid.
    """
    found = verdict.faults or (verdict.gaps if where == "sign" else [])
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise BlocksError(
            where,
            what,
            f"the lineage of {what} is not valid: {found[0]}{more}",
            "",
            f"Run `tfhub-blocks verify {what}` to see every fault",
        )
