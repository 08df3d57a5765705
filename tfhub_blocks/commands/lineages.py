"""``verify``, ``lineage``, ``card``: how an output came to be, checked, drawn, and told."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.folders import write_file

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
    verify.add_argument("--json", action="store_true", help="print one object on stdout")
    _add_runs_dir(verify)
    verify.set_defaults(command=_verify)
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
    from tfhub_blocks.control.lineage.archives import Archive
    from tfhub_blocks.control.lineage.targets import find_chain, missing_outputs
    from tfhub_blocks.control.lineage.verification import verify

    archive = Archive(options.runs_dir)
    chain = find_chain(options.what, archive, "verify")
    verdict = verify(chain, archive)
    missing_outputs(chain, archive, verdict)
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
    from tfhub_blocks.control.lineage.archives import Archive
    from tfhub_blocks.control.lineage.drawings import draw, mermaid, text_lines
    from tfhub_blocks.control.lineage.pages import drawing_page
    from tfhub_blocks.control.lineage.targets import find_chain
    from tfhub_blocks.control.lineage.uses import draw_uses, find_uses, summary_lines

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
    from tfhub_blocks.control.lineage.archives import Archive
    from tfhub_blocks.control.lineage.boms import bill_of_materials
    from tfhub_blocks.control.lineage.card_texts import markdown, page
    from tfhub_blocks.control.lineage.cards import model_card
    from tfhub_blocks.control.lineage.model_facts import Given, gather
    from tfhub_blocks.control.lineage.targets import find_chain
    from tfhub_blocks.control.lineage.verification import verify

    archive = Archive(options.runs_dir)
    chain = find_chain(options.what, archive, "card")
    verdict = verify(chain, archive)
    if verdict.faults:
        more = f", and {len(verdict.faults) - 1} more" if len(verdict.faults) > 1 else ""
        raise BlocksError(
            "card",
            options.what,
            f"the chain behind it does not hold: {verdict.faults[0]}{more}",
            "a chain that verify finds no fault in",
            f"see `tfhub-blocks verify {options.what}`",
        )
    facts = gather(chain, archive, Given(options.purpose, tuple(options.limits)))
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
