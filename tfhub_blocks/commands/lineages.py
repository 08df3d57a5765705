"""``verify``, ``sign``, ``lineage``, ``card``: how an output came to be, checked and told."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file

if TYPE_CHECKING:
    from tfhub_blocks.control.lineage.findings import Verdict

_SHOWN = 20
_FORMATS = ("text", "mermaid", "html")
_TARGET = "a run, a registered model (MODEL or MODEL:VERSION), or the folder of an output"


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    verify = commands.add_parser(
        "verify",
        help="check the whole chain behind a model, a run or a folder",
        description="Reads every byte of the chain, back to what no step made, and holds it "
        "against statements, records of runs, evidence and registry. Status 1 on a fault, or if a "
        "part is not here.",
    )
    verify.add_argument("what", metavar="WHAT", help=_TARGET)
    verify.add_argument(
        "--partial", action="store_true", help="parts that are not here are told and no failure"
    )
    verify.add_argument(
        "--key", type=Path, metavar="PUB", help="each statement must be signed by this public key"
    )
    verify.add_argument("--json", action="store_true", help="print one object on stdout")
    _add_runs_dir(verify)
    verify.set_defaults(command=_verify)
    sign = commands.add_parser(
        "sign",
        help="sign each statement of a chain with a key of yours",
        description="Checks the chain as verify does, then writes a DSSE envelope beside each of "
        "its outputs. `verify --key PUB` checks these offline.",
    )
    sign.add_argument("what", metavar="WHAT", help=_TARGET)
    sign.add_argument(
        "--key",
        required=True,
        metavar="PRIV",
        help="a private key as PEM (Ed25519, or ECDSA on P-256), or one on P-256 in Azure Key "
        "Vault: azurekeyvault://VAULT/KEY[/VERSION]",
    )
    sign.add_argument(
        "--public", type=Path, metavar="PUB", help="write the public key there, for verify --key"
    )
    _add_runs_dir(sign)
    sign.set_defaults(command=_sign)
    lineage = commands.add_parser(
        "lineage",
        help="draw what something was made from, or what was made of it",
        description="Back to source files, or with --forward to every output and registered model "
        "that a snapshot, an encoder or one item went into.",
    )
    lineage.add_argument("what", metavar="WHAT", nargs="?", help=_TARGET)
    lineage.add_argument(
        "--forward", action="store_true", help="what was made of it, as with --uses WHAT"
    )
    lineage.add_argument(
        "--uses",
        metavar="X",
        help="what was made of X: a snapshot or an encoder (folder, digest, name, handle), or an "
        "item (its id, its path in the source, or a file with its content)",
    )
    lineage.add_argument("--format", choices=_FORMATS, help="how it is drawn (text)")
    lineage.add_argument("--output", type=Path, metavar="F", help="write it there")
    _add_runs_dir(lineage)
    lineage.set_defaults(command=_lineage)
    card = commands.add_parser(
        "card",
        help="write a model's card and its bill of materials",
        description="Checks the chain behind a model, and writes card.md, card.html and a "
        "CycloneDX bill of materials, bom.cdx.json, from it.",
    )
    card.add_argument("what", metavar="MODEL", help=_TARGET)
    card.add_argument("--to", type=Path, required=True, metavar="DIR", help="where to write them")
    card.add_argument(
        "--purpose", default="", metavar="TEXT", help="what it is for; else as its registry says"
    )
    card.add_argument(
        "--limit",
        dest="limits",
        action="append",
        default=[],
        metavar="TEXT",
        help="what it is not for; may be repeated",
    )
    _add_runs_dir(card)
    card.set_defaults(command=_card)


def _add_runs_dir(parser: Any) -> None:
    parser.add_argument(
        "--runs-dir", type=Path, default=Path(".runs"), metavar="DIR", help="where runs are (.runs)"
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
    for heading, findings in (("fault", verdict.faults), ("not here", verdict.gaps)):
        for finding in findings[:_SHOWN]:
            print(f"{heading} [{finding.kind}] {finding}")
        if len(findings) > _SHOWN:
            print(f"and {len(findings) - _SHOWN} more; --json tells all")
    for note in verdict.notes:
        print(f"note: {note}")
    for source in verdict.sources:
        print(f"begins: {source}")
    print(
        f"{verdict.title}: {verdict.outputs} outputs, {verdict.files} files read; "
        f"{_count(verdict.faults, 'fault')}, {_count(verdict.gaps, 'part')} not here"
    )
    if not holds:
        print("the chain does not hold", file=sys.stderr)


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
        raise BlocksError(
            "lineage", "WHAT", "give one thing", "WHAT or --uses X, and not both", "see --help"
        )
    archive = Archive(options.runs_dir)
    forward, summary = options.forward or options.uses is not None, []
    if forward:
        uses = find_uses(options.uses or options.what, archive)
        drawing, summary = draw_uses(uses), list(summary_lines(uses))
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
    told = model_card(facts)
    texts = {
        "card.md": markdown(told),
        "card.html": page(told),
        "bom.cdx.json": json.dumps(bill_of_materials(facts), indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        write_file(options.to / name, text.encode())
        print(options.to / name)
    for gap in verdict.gaps:
        print(f"warning: not here, and so not told: {gap}", file=sys.stderr)
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
    """Refuse what is to be vouched for and does not hold; to sign, all of it must be here."""
    found = verdict.faults or (verdict.gaps if where == "sign" else [])
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise BlocksError(
            where,
            what,
            f"the chain behind it does not hold: {found[0]}{more}",
            "a chain that verify finds no fault in",
            f"see `tfhub-blocks verify {what}`",
        )
