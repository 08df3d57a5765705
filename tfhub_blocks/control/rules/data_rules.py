"""Rules on data: the same pipeline reads the same bytes."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.repository.catalog import MODEL_TYPES
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Data, Subject, told

_DIGEST = re.compile(r"[0-9a-f]{12,64}")


@rule(
    "data-version",
    demand="data is a registered asset with an exact version",
    why="without a version the training data of a model cannot be named or restored",
    trial="note",
)
def data_version(subject: Subject) -> Iterator[Finding]:
    """Find local paths, and assets with a label or no version."""
    for data in subject.data() if subject.is_remote else ():
        if data.is_local:
            problem = f"{data.address} is a local folder, not an asset"
            yield subject.at_data(data, problem, _published(data))
        elif not data.is_address and not data.version:
            yield subject.at_data(
                data,
                f"{data.address} names no version",
                f"Name an exact version: {data.address.partition('@')[0]}:VERSION",
            )


@rule(
    "data-digest",
    demand="the version of a data asset is a digest of its content",
    why="a version that is counted up may have other files than it once had",
    severity="warning",
    trial="note",
)
def data_digest(subject: Subject) -> Iterator[Finding]:
    """Find versions that are not 12 or more hexadecimal digits, as `publish` writes them."""
    for data in subject.data() if subject.is_remote else ():
        if data.version and not _DIGEST.fullmatch(data.version):
            problem = f"version {data.version} is not a digest of the content"
            yield subject.at_data(data, problem, _published(data))


@rule(
    "data-folder",
    demand="no pipeline reads a location whose content may change",
    why="if a file is added, the same pipeline trains another model",
    trial="note",
)
def data_folder(subject: Subject) -> Iterator[Finding]:
    """Find paths in a datastore, and other addresses."""
    for data in subject.data() if subject.is_remote else ():
        if data.is_address:
            problem = f"the content of {told(data.address)} may change"
            yield subject.at_data(data, problem, _published(data))


@rule(
    "data-writer",
    demand="a data asset is written by one pipeline",
    why="versions from two pipelines would alternate, and a reader could not distinguish them",
    trial="warning",
)
def data_writer(subject: Subject) -> Iterator[Finding]:
    """Find assets that a node or a schedule registers, and another pipeline too."""
    mine = list(_written(subject))
    for other in subject.repository.others(subject.pipeline) if mine else ():
        theirs = {name for name, _ in _written(other)}
        for name, finding in mine:
            if name in theirs:
                problem = f"{finding.problem}, and so does pipeline {other.pipeline}"
                yield Finding(
                    problem,
                    "Register under another name in one of the two pipelines",
                    finding.node,
                    finding.pipeline,
                    finding.place,
                )


def _published(data: Data) -> str:
    """Return the remedy that registers the data as an asset whose version is its digest."""
    words = "--encoder DIR" if data.type in MODEL_TYPES else "--data NAME=PATH"
    return f"Run `tfhub-blocks publish {words}`, and pass the asset: azureml:NAME:VERSION"


def _written(subject: Subject) -> Iterator[tuple[str, Finding]]:
    """Yield each asset that a pipeline writes, with a finding at the place that names it."""
    for node in subject.nodes:
        for name in node.registers.values():
            yield name, subject.at_node(node, f"the pipeline writes data asset {name}", "")
    for schedule, (_, file) in subject.repository.schedules.items():
        if file.pipeline == subject.pipeline:
            for output, name in file.register.items():
                problem = f"the schedule writes data asset {name}"
                yield name, subject.at_schedule(schedule, f"register.{output}", problem, "")
