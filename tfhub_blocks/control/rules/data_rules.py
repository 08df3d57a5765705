"""What data has to be, so that the same pipeline reads the same bytes."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.repository.catalog import MODEL_TYPES
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Data, Subject, told

_DIGEST = re.compile(r"[0-9a-f]{12,64}")


@rule(
    "data-version",
    demand="data is a registered asset with an exact version",
    why="without a version nobody can say, or get back, what a model was trained on",
    trial="note",
)
def data_version(subject: Subject) -> Iterator[Finding]:
    """Neither a local path nor an asset's name alone nor a label."""
    for data in subject.data() if subject.is_remote else ():
        if data.is_local:
            problem = f"{data.address} is a folder of this machine, and no asset"
            yield subject.at_data(data, problem, _published(data))
        elif not data.is_address and not data.version:
            yield subject.at_data(data, f"{data.address} names no version", "name one")


@rule(
    "data-digest",
    demand="the version of a data asset is a digest of its content",
    why="a version that somebody counted may hold other files than it did",
    severity="warning",
    trial="note",
)
def data_digest(subject: Subject) -> Iterator[Finding]:
    """As `publish` makes versions: twelve hexadecimal digits, or more."""
    for data in subject.data() if subject.is_remote else ():
        if data.version and not _DIGEST.fullmatch(data.version):
            problem = f"version {data.version} was not made from content"
            yield subject.at_data(data, problem, _published(data))


@rule(
    "data-folder",
    demand="no pipeline reads a place whose content may change",
    why="somebody adds a file, and the same pipeline trains another model",
    trial="note",
)
def data_folder(subject: Subject) -> Iterator[Finding]:
    """Neither a path in a datastore nor an address."""
    for data in subject.data() if subject.is_remote else ():
        if data.is_address:
            problem = f"{told(data.address)} may hold something else tomorrow"
            yield subject.at_data(data, problem, _published(data))


@rule(
    "data-writer",
    demand="a data asset is written by one pipeline",
    why="its versions would come from two places in turns, and no reader could tell which",
    trial="warning",
)
def data_writer(subject: Subject) -> Iterator[Finding]:
    """By a node's named output, or by what a schedule registers."""
    mine = list(_written(subject))
    for other in subject.repository.others(subject.pipeline) if mine else ():
        theirs = {name for name, _ in _written(other)}
        for name, finding in mine:
            if name in theirs:
                problem = f"{finding.problem}, and so does pipeline {other.pipeline}"
                yield Finding(
                    problem,
                    "give each pipeline an asset of its own",
                    finding.node,
                    finding.pipeline,
                    finding.place,
                )


def _published(data: Data) -> str:
    """How to get an asset of it that is named by its content."""
    words = "--encoder DIR" if data.type in MODEL_TYPES else "--data NAME=PATH"
    return f"`tfhub-blocks publish {words}`, and give what it names: azureml:NAME:VERSION"


def _written(subject: Subject) -> Iterator[tuple[str, Finding]]:
    """Each asset that a pipeline writes, with where it says so."""
    for node in subject.nodes:
        for name in node.registers.values():
            yield name, subject.at_node(node, f"it writes data asset {name}", "")
    for schedule, (_, file) in subject.repository.schedules.items():
        if file.pipeline == subject.pipeline:
            for output, name in file.register.items():
                problem = f"it writes data asset {name}"
                yield name, subject.at_schedule(schedule, f"register.{output}", problem, "")
