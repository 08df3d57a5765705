"""Pretrained TensorFlow Hub models as stable building blocks of Azure ML pipelines.

The names in ``__all__`` are the public interface (docs/public-names.md). Each is imported when it
is first used, so that importing this package is cheap. All other modules may move.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

__version__ = "0.2.0"

# The module that defines each public name (decision 55). The code snapshot of a step reads this
# table as text (records/environment/code_snapshots.py), so it has to be a literal.
_HOMES = {
    "BlocksError": "tfhub_blocks.records.base.errors",
    "Evidence": "tfhub_blocks.records.formats.evidence",
    "FEATURES": "tfhub_blocks.records.formats.features",
    "Format": "tfhub_blocks.records.base.folders",
    "LocalClient": "tfhub_blocks.interactive.clients",
    "Head": "tfhub_blocks.compute.heads.linear_head",
    "MODEL": "tfhub_blocks.records.formats.models",
    "Progress": "tfhub_blocks.records.base.progress",
    "SNAPSHOT": "tfhub_blocks.records.formats.snapshots",
    "SnapshotItem": "tfhub_blocks.records.formats.snapshots",
    "Threshold": "tfhub_blocks.records.formats.evidence",
    "client": "tfhub_blocks.interactive.clients",
    "like": "tfhub_blocks.records.base.port_copies",
    "load_encoder": "tfhub_blocks.compute.encoders.encoder",
    "load_model": "tfhub_blocks.compute.answering.opener",
    "open_features": "tfhub_blocks.records.formats.features",
    "open_folder": "tfhub_blocks.records.base.folders",
    "open_snapshot": "tfhub_blocks.records.formats.snapshots",
    "read_evidence": "tfhub_blocks.records.formats.evidence",
    "step": "tfhub_blocks.compute.step.step_frame",
    "write_features": "tfhub_blocks.records.formats.features",
    "write_file": "tfhub_blocks.records.base.folders",
    "write_model": "tfhub_blocks.compute.models.model_writing",
    "write_snapshot": "tfhub_blocks.records.formats.snapshot_writer",
}
_PACKAGES = ("components", "pipelines")

__all__ = ["__version__", *_PACKAGES, *_HOMES]


def __getattr__(name: str) -> _Any:
    if name in _PACKAGES:
        return _import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
