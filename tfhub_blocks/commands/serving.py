"""``serve``: serve a model over HTTP on this machine, exactly as an endpoint does."""

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
        help="Serve a model over HTTP on this machine.",
        description="Answer POST /score with labels and probabilities until the server is stopped. "
        "GET / returns a page to try the model, /openapi.json the description of the interface, "
        "and /metrics the numbers for Prometheus. The server has no authentication, so by default "
        "only this machine can reach it; --host changes that. The log goes to standard output, "
        "one JSON object on each line.",
    )
    serve.add_argument(
        "what",
        metavar="MODEL",
        help="registered model (MODEL or MODEL:VERSION), run, or folder of a model, an encoder or "
        "an MLflow model",
    )
    serve.add_argument(
        "--host", default=_LOOPBACK, help=f"address to listen on (default: {_LOOPBACK})"
    )
    serve.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="N",
        help="port to listen on; 0 selects a free port (default: 8000)",
    )
    serve.add_argument(
        "--budget-ms",
        type=float,
        metavar="MS",
        help="time in ms within which a request must be answered, else it is refused (default: "
        "the p99_ms limit of check_latency, or 1000 if the model was not measured)",
    )
    serve.add_argument(
        "--waiting",
        type=int,
        metavar="N",
        help="queue length in items; more are refused with status 429 (default: 128)",
    )
    serve.add_argument(
        "--max-body-mib",
        type=float,
        metavar="N",
        help="largest size of a request in MiB (default: 8)",
    )
    serve.add_argument(
        "--trust-code",
        action="store_true",
        help="run the code of a model that tfhub-blocks did not build",
    )
    serve.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    serve.set_defaults(command=_serve)


def _serve(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.serving.limits import usual_limits
    from tfhub_blocks.compute.serving.server import serve
    from tfhub_blocks.control.lineage.model_folders import find_model_folder
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.lineage.withdrawn_outputs import refuse_withdrawn_target

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
            raise BlocksError(
                "serve",
                option,
                f"{option} {value:g} is not above 0",
                "",
                f"Pass a number above 0, or leave {option} out",
            )
    archive = Archive(options.runs_dir)
    name, folder = find_model_folder(options.what, archive, "serve")
    refuse_withdrawn_target("serve", options.what, archive)
    limits = replace(usual_limits(folder), **{k: v for k, v in given.items() if v is not None})
    serve(
        folder, name, limits, "serve", (options.host, options.port), _announce, options.trust_code
    )
    return DONE


def _announce(url: str) -> None:
    print(
        f"serving at {url}, as soon as the model is loaded; press Ctrl-C to stop", file=sys.stderr
    )
