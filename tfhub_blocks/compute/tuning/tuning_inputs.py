"""The inputs of the step fine_tune, checked before TensorFlow is imported."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.encoders.encoder_policy import tunable_pin
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.compute.tuning.starting_models import check_start
from tfhub_blocks.records.base.folders import Folder
from tfhub_blocks.records.formats.features import ACTIVATIONS, Features, open_features
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.snapshots import Snapshot, open_snapshot


@dataclass(frozen=True)
class TuningInputs:
    """The opened inputs of a fine-tuning, and the time at which the step began to open them."""

    snapshot: Snapshot
    activations: Features | None
    start: tuple[Folder, Mapping[str, Any]] | None
    begun: float


def open_inputs(run: StepRun) -> TuningInputs:
    """Open the inputs of a run of fine_tune.

    Raises:
        BlocksError: An input is not a finished output of its kind, the encoder may not be
            fine-tuned, or the model to start from belongs to another encoder.
    """
    begun = time.monotonic()
    start, activations = run.arguments["start"], run.arguments["activations"]
    pin = tunable_pin(run.path("encoder"), run.name)
    snapshot = open_snapshot(run.path("snapshot"), run.name)
    cached = open_features(Path(activations), run.name, ACTIVATIONS) if activations else None
    probe = open_model(Path(start), run.name) if start else None
    if probe:
        check_start(probe[1], pin.digest)
    return TuningInputs(snapshot, cached, probe, begun)
