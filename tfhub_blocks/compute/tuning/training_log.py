"""The record of a training: its choices, its costs, and its curves, as data and as a plot."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.evaluation.evaluation_figures import curves_png
from tfhub_blocks.compute.tuning.tuning_run import Tuned
from tfhub_blocks.records.base.folders import Format

FORMAT = Format("training", 1)
RECORD_NAME = "training.json"
CURVES_NAME = "curves.png"


def write_record(folder: Path, tuned: Tuned, costs: Mapping[str, Any]) -> None:
    """Write ``training.json`` and ``curves.png``.

    Args:
        folder: The folder to write to.
        tuned: The result of the training.
        costs: Seconds and bytes, by name.
    """
    cut = tuned.cut
    record = {
        "cut": {
            "trained_from": cut.above[0],
            "tensor": cut.tensor,
            "variables": list(cut.above),
            "parameters": cut.parameters_above,
            "activation_shape": list(cut.shape),
            "share_of_forward_pass_below": cut.share_below,
        },
        "schedule": asdict(tuned.schedule),
        "best_epoch": tuned.trained.best + 1,
        "epochs": [asdict(epoch) for epoch in tuned.trained.epochs],
        "comparison": tuned.comparison.as_dict(),
        "costs": dict(costs),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    (folder / RECORD_NAME).write_text(text + "\n", encoding="utf-8")
    epochs = tuned.trained.epochs
    start = tuned.comparison.candidates[0].log_loss
    curves = {
        "training loss": [epoch.train_loss for epoch in epochs],
        "validation log-loss": [epoch.validation_log_loss for epoch in epochs],
    }
    (folder / CURVES_NAME).write_bytes(curves_png(curves, tuned.trained.best, start))
