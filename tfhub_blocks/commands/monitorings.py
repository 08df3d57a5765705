"""``monitor``: compare new items of a model with its training data, and show all models."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.pipelines import ended_as_by_interrupt, refuse_remote
from tfhub_blocks.commands.status import DONE, FAILED, INTERRUPTED
from tfhub_blocks.records.base.errors import BlocksError

STATUS = "status"
PIPELINES = {"data": "monitoring", "current": "monitoring_of_features"}


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    monitor = commands.add_parser(
        "monitor",
        help="Compare new items of a model with its training data.",
        description="Compare new items of a model with the data that it was trained on, and "
        "estimate the accuracy on them. Items of earlier looks are left out, and all looks count "
        "together. The exit status is 1 after an alarm. `monitor status` lists the last look of "
        "each model.",
    )
    monitor.add_argument(
        "model",
        metavar="MODEL",
        help="NAME:VERSION of a registered model, a run, or the folder of a model; or the word "
        "status",
    )
    monitor.add_argument(
        "--source", type=Path, metavar="DIR", help="new items, in any form that score_batch takes"
    )
    monitor.add_argument(
        "--current",
        type=Path,
        metavar="FOLDER",
        help="features, or predictions with features, of new items; nothing is computed again",
    )
    monitor.add_argument(
        "--labels", type=Path, metavar="FILE", help="to_label.csv of the same items, filled in"
    )
    monitor.add_argument(
        "--least-accuracy", type=float, metavar="A", help="raise an alarm below this accuracy"
    )
    monitor.add_argument(
        "--profile", default="local", help="profile with the limits (default: local)"
    )
    monitor.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    monitor.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    monitor.set_defaults(command=_monitor)


def _monitor(options: argparse.Namespace) -> int:
    if options.model == STATUS:
        return _status(options)
    if (options.source is None) == (options.current is None):
        given = "both --source and --current are" if options.source else "neither is"
        raise BlocksError(
            "monitor",
            "--source",
            f"{given} set",
            "either --source DIR or --current FOLDER",
            "Run `tfhub-blocks monitor MODEL --source DIR`",
        )
    from tfhub_blocks.control.project.profiles import load_profile

    profile = load_profile(options.profile)
    refuse_remote(profile, "submit the pipeline monitoring")

    from tfhub_blocks.control.lineage.model_folders import find_model_folder
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.local.local_engine import LocalEngine
    from tfhub_blocks.control.local.run_display import live_table, print_outcome
    from tfhub_blocks.control.monitoring.monitored_models import (
        earlier_predictions,
        last_monitoring,
        training_outputs,
    )
    from tfhub_blocks.control.project.run_records import CANCELED, COMPLETED
    from tfhub_blocks.control.project.run_requests import prepare_job
    from tfhub_blocks.records.base.lineage import read_lineage
    from tfhub_blocks.records.formats.drift_records import RECORD_NAME, read_drift

    archive = Archive(options.runs_dir)
    _, model = find_model_folder(options.model, archive, "monitor")
    last = last_monitoring(archive, read_lineage(model).digest)
    port = "data" if options.source else "current"
    settings: dict[str, Any] = {"model": model, port: options.source or options.current}
    settings |= training_outputs(model, archive)
    settings |= {"earlier": last and last.folder, "labels": options.labels}
    settings["least_accuracy"] = options.least_accuracy
    if options.source:
        settings["previous_predictions"] = earlier_predictions(last, archive)
    texts = [f"{name}={value}" for name, value in settings.items() if value is not None]
    _, graph, inputs = prepare_job(PIPELINES[port], texts, profile)
    stream = sys.stderr if options.json else sys.stdout
    with ended_as_by_interrupt(), live_table(stream) as on_change:
        run = LocalEngine(options.runs_dir, profile, on_change).run(graph, inputs)
    if run.status != COMPLETED:
        print_outcome(run, stream)
        return INTERRUPTED if run.status == CANCELED else FAILED
    folder = Path(run.outputs["monitoring"])
    record = read_drift(folder / RECORD_NAME, "monitor")
    if options.json:
        shown = {"folder": str(folder), **record.as_statement()["predicate"]}
        print(json.dumps(shown, indent=1, ensure_ascii=False))
    else:
        print(*record.lines(), f"report: {folder / 'report.html'}", sep="\n")
    return FAILED if record.reasons else DONE


def _status(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.monitoring.monitored_models import last_monitorings

    found = last_monitorings(Archive(options.runs_dir))
    if options.json:
        rows = [{"folder": str(it.folder), **it.record.as_statement()} for it in found]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif not found:
        print(f"no monitoring in {options.runs_dir}")
    for it in found if not options.json else ():
        print(f"model {it.record.model_digest[:12]}, last look {it.record.looks[-1].time}")
        print(*(f"  {line}" for line in it.record.lines()), f"  report: {it.folder}", sep="\n")
    return FAILED if any(it.record.reasons for it in found) else DONE
