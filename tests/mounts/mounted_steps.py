"""The steps that are run on mounts, with inputs that each finishes in seconds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.base.lineage import STATEMENT_NAME

# The record of a training states how long it took.
_TIMED = frozenset({"training.json"})


@dataclass(frozen=True)
class StepCase:
    """A step, its inputs by name of what is given, its parameters, and its outputs."""

    name: str
    ports: Mapping[str, str]
    values: Mapping[str, Any]
    outputs: tuple[str, ...]
    after: tuple[str, ...] = ()

    def inputs(self, given: Mapping[str, Path]) -> dict[str, Any]:
        """Return the inputs of the step; STEP/PORT is the output of an earlier step."""
        found = {
            port: given["folder"] / name if "/" in name else given[name]
            for port, name in self.ports.items()
        }
        return {**found, **self.values}


CASES = [
    StepCase("import_encoder", {"source": "saved"}, {"unpinned": "accept"}, ("encoder",)),
    StepCase("snapshot_data", {"source": "source"}, {}, ("snapshot",)),
    StepCase(
        "extract_features",
        {"snapshot": "snapshot", "encoder": "encoder"},
        {"engine": "tensorflow"},
        ("features",),
    ),
    StepCase(
        "cache_activations",
        {"snapshot": "snapshot", "encoder": "encoder"},
        {"trainable": "last", "engine": "tensorflow"},
        ("activations",),
    ),
    StepCase(
        "train_head",
        {"features": "extract_features/features", "encoder": "encoder"},
        {},
        ("model",),
        ("extract_features",),
    ),
    StepCase(
        "fine_tune",
        {"snapshot": "snapshot", "encoder": "encoder", "start": "start"},
        {"trainable": "last", "epochs": 2, "engine": "tensorflow"},
        ("model", "record"),
    ),
    StepCase(
        "evaluate",
        {"model": "train_head/model", "snapshot": "snapshot"},
        {"min_accuracy": 0.3},
        ("report", "evidence"),
        ("train_head",),
    ),
    StepCase(
        "score_batch",
        {"model": "start", "data": "source"},
        {"engine": "tensorflow", "max_unreadable_fraction": 0.5},
        ("predictions",),
    ),
    StepCase(
        "register_model",
        {"model": "train_head/model", "evidence": "evaluate/evidence"},
        {"model_name": "colours", "owner": "ada"},
        ("registration",),
        ("train_head", "evaluate"),
    ),
]


def outputs_of(case: StepCase, folder: Path) -> dict[str, Path]:
    """Return the paths of the outputs of a step, in one folder."""
    return {port: folder / port for port in case.outputs}


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of each file of a step's outputs; times in lineage and records aside."""
    found = {}
    for name, digest in files_sha256(folder).items():
        path = folder / name
        if path.name == STATEMENT_NAME:
            statement = json.loads(path.read_text(encoding="utf-8"))
            files = {each["name"]: each["digest"] for each in statement["subject"]}
            timed = files.keys() & _TIMED
            found[name] = json.dumps(sorted(files) if timed else files, sort_keys=True)
        else:
            found[name] = digest if path.name not in _TIMED else ""
    return found
