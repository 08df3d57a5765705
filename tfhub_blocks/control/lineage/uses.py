"""Uses of a snapshot, an encoder or one item: all local outputs that were built from it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tfhub_blocks.control.lineage.chain_evidence import encoder_digest, snapshot_digest
from tfhub_blocks.control.lineage.chains import is_compared
from tfhub_blocks.control.lineage.local_registrations import (
    Registration,
    find_registration,
    registered,
)
from tfhub_blocks.control.lineage.recorded_output import Output, read_output
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.records.base.digests import file_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.base.parquet_bounds import read_bounded
from tfhub_blocks.records.formats.predictions import FORMAT as PREDICTIONS
from tfhub_blocks.records.formats.predictions import open_predictions
from tfhub_blocks.records.formats.snapshots import REJECTED_NAME, SOURCES_NAME, open_snapshot
from tfhub_blocks.records.formats.withdrawn import Mark, Withdrawn
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

# Of earlier features and predictions, a step takes over only the items that are input again.
_EARLIER = frozenset({"previous_features", "previous_predictions"})


@dataclass(frozen=True)
class Held:
    """An item in a snapshot: its id, its path in the source, and its split."""

    snapshot: Output
    item: str
    path: str
    split: str


@dataclass(frozen=True)
class Scored:
    """A row of predictions about an item: its path, and its id if the item could be read."""

    predictions: Output
    item: str | None
    path: str


@dataclass
class Uses:
    """The outputs and registered versions that were built from something.

    ``starts`` are the outputs that are the subject itself, and ``reached`` are these and all
    outputs that were built from them; an output that was only compared is not contained.
    ``retrain`` are the versions that learned from it, ``measured`` those that were only evaluated
    on it. ``held`` are the snapshots that contain an item, ``rejected`` those that rejected its
    file, and ``scored`` the rows of predictions about it.
    """

    title: str
    starts: list[Output] = field(default_factory=list)
    reached: dict[Path, Output] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    rejected: list[tuple[Output, str]] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    outputs: dict[Path, Output] = field(default_factory=dict)
    arrows: list[tuple[Output, str, Output]] = field(default_factory=list)
    retrain: list[Registration] = field(default_factory=list)
    measured: list[Registration] = field(default_factory=list)


def find_uses(text: str, archive: Archive) -> Uses:
    """Find the outputs that were built from the subject of a text.

    The text is a run, a registered model, a folder of an output or its digest, an encoder's name,
    handle, digest or pin, a snapshot's data digest, ``licence:NAME``, ``azureml:NAME:VERSION`` of a
    data asset, an item's id, a file whose content is an item, or an item's path in its source.

    Raises:
        BlocksError: No local output and no item matches the text.
    """
    starts = list(_outputs(text, archive))
    if starts or _marks(text):
        uses = Uses(f"outputs built from {text}", starts)
        _follow(uses, archive, starts)
        _add_versions(uses, archive, starts)
        return uses
    uses = Uses(f"outputs built from item {text}")
    for snapshot in _snapshots(archive):
        uses.held += _held(snapshot, text)
        uses.rejected += [(snapshot, reason) for reason in _rejected(snapshot, text)]
    for predictions in archive.in_order():
        if predictions.kind == PREDICTIONS.kind and predictions.lineage:
            uses.scored += _scored(predictions, text)
    if not uses.held and not uses.rejected and not uses.scored:
        raise BlocksError(
            "lineage",
            text,
            f"{text} is no output in {archive.folder}, and no item of a snapshot or predictions",
            "a folder, a digest, an encoder, an item's id, or its path as in sources.parquet",
            f"Pass one of these, or --runs-dir if another folder than {archive.folder} has it",
        )
    _follow_items(uses, archive)
    return uses


def affected(text: str, uses: Uses) -> Withdrawn:
    """Return the signs by which assets, locks and endpoints show that they use a subject."""
    marks = _marks(text) or Withdrawn()
    digests = {it.digest for it in uses.reached.values()}
    return marks.with_digests({*digests, *_names(uses.starts)}, text)


def _names(starts: Iterable[Output]) -> set[str]:
    return {d for o in starts for d in (encoder_digest(o), snapshot_digest(o)) if d}


def _outputs(text: str, archive: Archive) -> Iterator[Output]:
    marks = _marks(text)
    if marks is not None:
        for output in archive.in_order():
            try:
                mark = marks.in_folder(output.path)
            except BlocksError:
                continue  # verify reports it
            if mark:
                yield output
        return
    path = Path(text)
    if (path / PIN_NAME).is_file() and not (path / STATEMENT_NAME).is_file():
        text = read_pin(path / PIN_NAME).digest  # a pin of the project, which no step wrote
    run = next((run for _, run in archive.runs if run.run == text), None)
    if run is not None:
        yield from (output for _, _, output in archive.of_run(run) if output)
        return
    version = find_registration(archive.folder, text, "lineage") if "/" not in text else None
    digest = version.tags.get("model_digest", "") if version else ""
    if not digest and path.is_dir():
        found = read_output(path.absolute())
        digest = found.digest
        if found.lineage is None and not digest:
            raise BlocksError(
                "lineage",
                text,
                "the folder carries no lineage",
                "the folder of an output",
                f"Pass an output of a finished run, such as one below {archive.folder}/store",
            )
    for output in archive.in_order():
        names = {output.digest, encoder_digest(output), snapshot_digest(output)}
        if encoder_digest(output):
            pin = read_pin(output.path / PIN_NAME)
            names |= {pin.name, pin.handle}
        if (digest or text) in names - {""}:
            yield output


def _marks(text: str) -> Withdrawn | None:
    """Return the sign to look for if a text names a licence or a version of data, else None."""
    if licence := licence_of(text):
        return Withdrawn([Mark("licence", licence, text)])
    if version := data_version_of(text):
        return Withdrawn([Mark("data", ":".join(version), text)])
    return None


def licence_of(text: str) -> str:
    """Return the licence that a text names as ``licence:NAME``, or an empty text."""
    prefix, _, licence = text.partition(":")
    return licence.strip() if prefix == "licence" else ""


def data_version_of(text: str) -> tuple[str, str] | None:
    """Return the name and the version in ``azureml:NAME:VERSION``, or None."""
    match = re.fullmatch(r"azureml:([^/:@]+):([^/:@]+)", text)
    return (match[1], match[2]) if match else None


def _snapshots(archive: Archive) -> Iterator[Output]:
    return (output for output in archive.in_order() if snapshot_digest(output))


def _held(snapshot: Output, text: str) -> Iterator[Held]:
    """Yield the items that a text names: by id, by path in the source, or by a file's content."""
    opened = open_snapshot(snapshot.path, "lineage")
    places = read_bounded(opened.folder.file(SOURCES_NAME))
    rows = _meant(places, text)
    if not rows:
        return
    index = opened.index()
    chosen = index.filter(pc.is_in(index["id"], _texts({row["id"] for row in rows})))
    splits = dict(zip(chosen["id"].to_pylist(), chosen["split"].to_pylist(), strict=True))
    for row in rows:
        yield Held(snapshot, row["id"], row["path"], splits.get(row["id"], "?"))


def _meant(places: pa.Table, text: str) -> list[dict[str, str]]:
    """Return the rows of a table of ids and paths that a text names."""
    wanted = {text}
    if Path(text).is_file():
        wanted.add(file_sha256(Path(text)))
    is_meant = pc.or_(
        pc.is_in(places["id"], _texts(wanted)), pc.is_in(places["path"], _texts(wanted))
    )
    rows: list[dict[str, str]] = places.filter(is_meant).to_pylist()
    return rows


def _scored(predictions: Output, text: str) -> Iterator[Scored]:
    """Yield the rows about an item, also if it was scored from no snapshot."""
    for path in open_predictions(predictions.path, "lineage").files():
        for row in _meant(read_bounded(path, columns=["id", "path"]), text):
            yield Scored(predictions, row["id"], row["path"])


def _texts(values: set[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())


def _rejected(snapshot: Output, text: str) -> Iterator[str]:
    folder = open_snapshot(snapshot.path, "lineage").folder
    rejected = read_bounded(folder.file(REJECTED_NAME))
    for row in rejected.filter(pc.equal(rejected["path"], text)).to_pylist():
        yield row["reason"]


def _follow(
    uses: Uses, archive: Archive, starts: list[Output], passed_over: frozenset[str] = frozenset()
) -> set[str]:
    """Add the outputs built from some outputs; return the digests of all of them."""
    edges: dict[str, list[tuple[str, Output]]] = {}
    for output in archive.in_order():
        speaker = archive.speaker(output)
        for material in speaker.lineage.provenance.materials if speaker and speaker.lineage else ():
            if material.digest and material.name not in passed_over:
                edges.setdefault(material.digest, []).append((material.name, output))
        if speaker is None:
            for place in archive.places(output)[:1]:
                for port in place.step.inputs:
                    if given := archive.given(place, port):
                        edges.setdefault(given.digest, []).append((port, output))
    waiting, reached = list(starts), set()
    uses.outputs |= {output.path: output for output in starts}
    while waiting:
        output = waiting.pop(0)
        uses.reached[output.path] = output
        if output.digest in reached:
            continue
        reached.add(output.digest)
        for port, user in edges.get(output.digest, ()):
            uses.arrows.append((output, port, user))
            uses.outputs[user.path] = user
            if not is_compared(port, archive, user):
                waiting.append(user)
    return reached


def _follow_items(uses: Uses, archive: Archive) -> None:
    """Follow each snapshot that contains the item, by the split of the item in that snapshot."""
    uses.outputs |= {row.predictions.path: row.predictions for row in uses.scored}
    learned = [held.snapshot for held in uses.held if held.split != "test"]
    tested = [held.snapshot for held in uses.held if held.split == "test"]
    for snapshots, versions in ((learned, uses.retrain), (tested, uses.measured)):
        if snapshots:
            reached = _follow(uses, archive, snapshots, _EARLIER)
            data = {snapshot_digest(snapshot) for snapshot in snapshots}
            versions += [
                version
                for version in registered(archive.folder)
                if version.tags.get("model_digest") in reached
                or version.tags.get("snapshot_digest") in data
            ]
    uses.measured = [version for version in uses.measured if version not in uses.retrain]


def _add_versions(uses: Uses, archive: Archive, starts: list[Output]) -> None:
    digests = {output.digest for output in uses.outputs.values()}
    names = _names(starts)
    for version in registered(archive.folder):
        tags = version.tags
        if tags.get("model_digest") in digests or names & {
            tags.get("encoder_digest", ""),
            tags.get("snapshot_digest", ""),
        }:
            uses.retrain.append(version)
