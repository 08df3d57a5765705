"""``encoder compare``: accuracy and cost of encoders on a sample of items, before a full run."""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.compute.data.draws import Drawn
    from tfhub_blocks.compute.heads.interval_estimates import IntervalEstimate
    from tfhub_blocks.compute.ranking.encoder_ranking import EncoderTrial


def register(encoder: Any) -> None:
    """Add the command to the parser of ``encoder``."""
    compare = encoder.add_parser(
        "compare",
        help="Rank encoders by the accuracy of their features on your data, with their cost.",
        description="Sample items of a source, run each encoder over them, and rank the encoders "
        "by the leave-one-out accuracy of a ridge classifier. Use the ranking before you pay for a "
        "full run. Times and costs are those of this machine, without start-up.",
    )
    compare.add_argument(
        "folders", metavar="DIR", nargs="+", type=Path, help="folder of a pinned encoder"
    )
    compare.add_argument(
        "--source",
        metavar="DIR",
        required=True,
        type=Path,
        help="labelled data, in any form that the step snapshot_data accepts",
    )
    compare.add_argument(
        "--items",
        type=int,
        default=400,
        metavar="N",
        help="number of items to sample (default: 400)",
    )
    compare.add_argument(
        "--price-per-hour",
        type=float,
        metavar="P",
        help="hourly price of a machine like this one (default: no prices are shown)",
    )
    compare.add_argument(
        "--currency", default="EUR", metavar="C", help="currency of the price (default: EUR)"
    )
    compare.add_argument(
        "--follow-links",
        action="store_true",
        help="read files outside of the source to which links lead",
    )
    compare.add_argument(
        "--assumptions",
        action="store_true",
        help="try other assumptions about the input of each encoder as well",
    )
    compare.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    _check(options)
    # Standard output is for the answer; progress goes to standard error.
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as temporary:
        from tfhub_blocks.compute.data.draws import draw
        from tfhub_blocks.records.base.progress import Progress

        drawn = draw(
            options.source,
            options.items,
            Path(temporary) / "draw",
            "encoder compare",
            Progress("items read"),
            options.follow_links,
        )
        trials = _tried(options.folders, drawn, options.assumptions)
    if options.json:
        print(json.dumps(_record(drawn, trials, options), indent=1, ensure_ascii=False))
    elif trials:
        print("\n".join(_lines(drawn, trials, options)))
    return DONE if len(trials) == len(options.folders) else FAILED


def _check(options: argparse.Namespace) -> None:
    price = options.price_per_hour
    for option, value, is_good, expected in (
        ("--items", options.items, options.items >= 4, "4 or more"),
        ("--price-per-hour", price, price is None or price > 0, "more than 0"),
    ):
        if not is_good:
            problem = f"{option} {value} is too small"
            remedy = f"Pass {expected}, or leave {option} out"
            raise BlocksError("encoder compare", option, problem, expected, remedy)


def _tried(folders: Sequence[Path], drawn: "Drawn", with_assumptions: bool) -> list["EncoderTrial"]:
    """Try each encoder, and return the trials in the order of their ranks.

    An encoder that cannot be tried is left out, and its error is printed.
    """
    from tfhub_blocks.compute.ranking.encoder_ranking import ranked, tried
    from tfhub_blocks.compute.tf.tensorflow_setup import use_one_thread_per_operation
    from tfhub_blocks.records.base.progress import Progress

    # A process that has computed before, such as a notebook, keeps its threads.
    with contextlib.suppress(RuntimeError):
        use_one_thread_per_operation()
    trials = []
    for folder in folders:
        print(f"{folder}:")
        try:
            trials.append(tried(folder, drawn, Progress("items"), with_assumptions))
        except BlocksError as error:
            print(f"{ERROR_PREFIX}{error}", file=sys.stderr)
    return ranked(trials)


def _lines(
    drawn: "Drawn", trials: Sequence["EncoderTrial"], options: argparse.Namespace
) -> list[str]:
    """Return the answer as text: the sample, a table, and the ranks that are uncertain."""
    from tfhub_blocks.compute.ranking.encoder_ranking import lead

    manifest = drawn.snapshot.manifest
    columns: dict[str, Callable[[EncoderTrial], str]] = {
        "encoder": lambda trial: trial.encoder,
        "accuracy [95 %]": lambda trial: _interval(trial.answer.accuracy, 3),
        "features": lambda trial: str(trial.dimension),
        "items/s": lambda trial: f"{trial.items_per_s:.0f}",
        "s per 1,000": lambda trial: f"{trial.seconds_per_1000:.2f}",
    }
    if options.price_per_hour is not None:
        columns[f"{options.currency} per 1,000"] = lambda trial: f"{_money(trial, options):.5f}"
    first = trials[0]
    if len(trials) > 1:
        columns["first is ahead by [95 %]"] = lambda trial: (
            "" if trial is first else _interval(lead(first, trial), 3)
        )
    rows = [list(columns), *([cell(trial) for cell in columns.values()] for trial in trials)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    justified = [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines = [
        f"{manifest.items} {manifest.modality} items of {len(manifest.labels)} classes"
        + (f"; {drawn.rejected} more items cannot be used" if drawn.rejected else ""),
        *justified,
    ]
    close = [trial.encoder for trial in trials[1:] if lead(first, trial).low <= 0]
    if close:
        lines.append(
            f"{manifest.items} items are too few to decide between {first.encoder} and "
            f"{', '.join(close)}"
        )
    for trial in trials if options.assumptions else ():
        lines += _assumption_lines(trial)
    return lines


def _assumption_lines(trial: "EncoderTrial") -> list[str]:
    """Return the accuracy under each assumption about an encoder's input."""
    from tfhub_blocks.compute.extraction.input_trials import worse_text

    if len(trial.inputs) < 2:
        return [f"{trial.encoder}: no other assumption about the input is common"]
    width = max(len(each.name) for each in trial.inputs)
    lines = [f"{trial.encoder}, by the assumption about its input:"]
    lines += [
        f"  {each.name.ljust(width)}  {_interval(each.answer.accuracy, 3)}" for each in trial.inputs
    ]
    worse = worse_text(trial.inputs)
    lines.append(f"warning: {worse}" if worse else "  no other assumption is clearly better")
    return lines


def _record(
    drawn: "Drawn", trials: Sequence["EncoderTrial"], options: argparse.Namespace
) -> dict[str, Any]:
    from tfhub_blocks.compute.ranking.encoder_ranking import lead

    manifest = drawn.snapshot.manifest
    return {
        "items": manifest.items,
        "rejected": drawn.rejected,
        "labels": list(manifest.labels),
        "draw_digest": manifest.digest,
        "currency": options.currency if options.price_per_hour is not None else None,
        "encoders": [
            {
                "encoder": trial.encoder,
                "digest": trial.digest,
                "accuracy": trial.answer.accuracy.as_dict(),
                "first_is_ahead_by": lead(trials[0], trial).as_dict() if number else None,
                "dimension": trial.dimension,
                "items_per_s": trial.items_per_s,
                "seconds_per_1000_items": trial.seconds_per_1000,
                "price_per_1000_items": (
                    None if options.price_per_hour is None else _money(trial, options)
                ),
                **_assumptions(trial),
            }
            for number, trial in enumerate(trials)
        ],
    }


def _assumptions(trial: "EncoderTrial") -> dict[str, Any]:
    from tfhub_blocks.compute.extraction.input_trials import worse_text

    if not trial.inputs:
        return {}
    ranks = [
        {"facts": each.name, "accuracy": each.answer.accuracy.as_dict()} for each in trial.inputs
    ]
    return {"assumptions": ranks, "worse_assumption": worse_text(trial.inputs)}


def _money(trial: "EncoderTrial", options: argparse.Namespace) -> float:
    return float(options.price_per_hour) * trial.seconds_per_1000 / 3600


def _interval(estimate: "IntervalEstimate", digits: int) -> str:
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"
