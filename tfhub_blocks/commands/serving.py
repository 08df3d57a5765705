"""``serve``: a model behind HTTP on this machine, as it answers on an endpoint."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE
from tfhub_blocks.records.base.errors import BlocksError

_LOOPBACK = "127.0.0.1"
_MEBIBYTE = 2**20


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    serve = commands.add_parser(
        "serve",
        help="serve a model over HTTP on this machine",
        description="Answers POST /score with labels and probabilities until it is stopped; GET / "
        "is a page to try it on, /openapi.json describes it, /metrics is for Prometheus. Only this "
        "machine reaches it, unless --host says otherwise: it asks nobody who they are. Standard "
        "output is its log, one JSON object a line.",
    )
    serve.add_argument(
        "what",
        metavar="MODEL",
        help="a registered model (MODEL or MODEL:VERSION), a run, or the folder of a model, an "
        "encoder or an MLflow model",
    )
    serve.add_argument("--host", default=_LOOPBACK, help=f"address to listen at ({_LOOPBACK})")
    serve.add_argument(
        "--port", type=int, default=8000, metavar="N", help="8000; 0 is any that is free"
    )
    serve.add_argument(
        "--budget-ms",
        type=float,
        metavar="MS",
        help="refuse what cannot be answered within it (the p99_ms that check_latency was asked "
        "for, or else 1000)",
    )
    serve.add_argument(
        "--waiting", type=int, metavar="N", help="items that may wait at once, before 429 (128)"
    )
    serve.add_argument(
        "--max-body-mib", type=float, metavar="N", help="how large a request may be (8)"
    )
    serve.add_argument(
        "--runs-dir", type=Path, default=Path(".runs"), metavar="DIR", help="where runs are (.runs)"
    )
    serve.set_defaults(command=_serve)


def _serve(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.serving.limits import usual_limits
    from tfhub_blocks.compute.serving.server import serve
    from tfhub_blocks.control.lineage.model_folders import find_model_folder
    from tfhub_blocks.control.lineage.run_archive import Archive

    given = {
        "budget_ms": options.budget_ms,
        "waiting": options.waiting,
        "body_bytes": options.max_body_mib and int(options.max_body_mib * _MEBIBYTE),
    }
    for option, value in (
        ("--budget-ms", options.budget_ms),
        ("--waiting", options.waiting),
        ("--max-body-mib", options.max_body_mib),
    ):
        if value is not None and not value > 0:
            raise BlocksError("serve", option, f"it is {value:g}", "more than 0", "correct it")
    name, folder = find_model_folder(options.what, Archive(options.runs_dir), "serve")
    limits = replace(usual_limits(folder), **{k: v for k, v in given.items() if v is not None})
    serve(folder, name, limits, "serve", (options.host, options.port), _announce)
    return DONE


def _announce(url: str) -> None:
    print(f"serving at {url}, as soon as the model is loaded; Ctrl-C stops it", file=sys.stderr)
