"""A chain drawn as boxes and arrows, and rendered as text or as a Mermaid flow chart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfhub_blocks.control.lineage.chain_evidence import (
    encoder_digest,
    is_evidence,
    snapshot_digest,
    sound_evidence,
)
from tfhub_blocks.control.lineage.chains import Chain, Knot, Link
from tfhub_blocks.control.lineage.promotion_statements import promotions_of
from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.records.base.foreign_text import printable
from tfhub_blocks.records.formats.promotions import Promotion
from tfhub_blocks.records.formats.snapshots import open_snapshot
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

SHORT = 12
_MOST_CHARACTERS = 60


@dataclass(frozen=True)
class Box:
    """A box in a drawing: an output, a source, a missing output, or a registered version."""

    title: str
    lines: tuple[str, ...] = ()
    kind: str = "output"


@dataclass
class Drawing:
    """Boxes by id, and arrows (from, label, to) from each input to the output of its step."""

    title: str
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, name: str, box: Box) -> str:
        """Add a box, unless its id is there already, and return the id."""
        self.boxes.setdefault(name, box)
        return name

    def join(self, start: str, label: str, end: str) -> None:
        """Add an arrow, unless the same arrow is there already."""
        if (start, label, end) not in self.arrows:
            self.arrows.append((start, label, end))


def draw(chain: Chain) -> Drawing:
    """Draw a chain with its sources. Copies of one output are one box."""
    drawing = Drawing(chain.title)
    version = chain.registration
    if version and version.source in chain.knots:
        owner = version.tags.get("owner", "")
        box = Box(f"registered {version}", (f"owner {owner}",) if owner else (), "version")
        end = drawing.add(f"version {version}", box)
        drawing.join(identity(chain.knots[version.source].output), "registered", end)
        for promotion in promotions_of(chain):
            drawing.join(end, "promoted", drawing.add(promotion.digest, _promoted(promotion)))
    for knot in chain.knots.values():
        end = drawing.add(identity(knot.output), output_box(knot.output))
        for link in knot.links:
            drawing.join(_start(drawing, knot, link), link.port, end)
    return drawing


def _promoted(it: Promotion) -> Box:
    by = f"by {', '.join(it.promoters)} {it.decided}"
    return Box(f"{it.destination}, profile {it.profile}: {it.asset}", (by, it.reason), "version")


def identity(output: Output) -> str:
    """Return an id that is equal for copies of an output, and for one rebuilt in the same way."""
    return f"{output.digest} {output.lineage.making if output.lineage else output.path}"


def _start(drawing: Drawing, knot: Knot, link: Link) -> str:
    if link.output is not None:
        return drawing.add(identity(link.output), output_box(link.output))
    if link.is_missing:
        box = Box(f"{link.port} {short(link.material.digest)}", ("not found locally",), "missing")
        return drawing.add(f"missing {link.material.digest}", box)
    source = link.place or f"an input of {identity(knot.output)}"
    return drawing.add(
        f"source {source}", Box(link.place or "a folder without lineage", (), "source")
    )


def output_box(output: Output) -> Box:
    """Return the box of an output: its kind, its step and parameters, and its contents."""
    lines = []
    if output.lineage:
        made = output.lineage.provenance
        lines.append(f"{made.step} {made.finished}".rstrip())
        if parameters := told_parameters(made.parameters):
            lines.append(parameters)
    lines += _contents(output)
    return Box(f"{output.kind} {short(output.digest)}", tuple(lines))


def told_parameters(parameters: Mapping[str, Any]) -> str:
    """Return the parameters that are set, as one line."""
    return " ".join(f"{name}={value}" for name, value in parameters.items() if value is not None)


def short(digest: str | None) -> str:
    """Return the first digits of a digest, as users read it."""
    return (digest or "?")[:SHORT]


def _contents(output: Output) -> Iterator[str]:
    if digest := snapshot_digest(output):
        manifest = open_snapshot(output.path, "lineage").manifest
        items = f"{manifest.items} {manifest.modality} items"
        yield f"{items} of {len(manifest.labels)} classes, data {short(digest)}"
    if digest := encoder_digest(output):
        pin = read_pin(output.path / PIN_NAME)
        yield f"{pin.name}, {pin.handle}, licence {pin.licence}, files {short(digest)}"
    evidence = sound_evidence(output) if is_evidence(output) else None
    if evidence:
        verdict = "passed" if evidence.passed else "failed"
        accuracy = evidence.metrics.get("accuracy", {}).get("value")
        yield verdict if accuracy is None else f"{verdict}, accuracy {accuracy:.4g}"


def text_lines(drawing: Drawing, forward: bool = False) -> Iterator[str]:
    """Yield a tree: from outputs back to their sources, or forward. Each box is drawn once."""
    beside: dict[str, list[tuple[str, str]]] = {name: [] for name in drawing.boxes}
    others = set()
    for start, label, end in drawing.arrows:
        beside[start if forward else end].append((label, end if forward else start))
        others.add(end if forward else start)
    seen: set[str] = set()

    def branch(name: str, label: str, lead: str, follow: str) -> Iterator[str]:
        box = drawing.boxes[name]
        again = " (see above)" if name in seen else ""
        yield f"{lead}{label}{printable(box.title)}{again}"
        if again:
            return
        seen.add(name)
        bar = "│  " if beside[name] else "   "
        yield from (f"{follow}{bar}{printable(line)}" for line in box.lines)
        for number, (port, other) in enumerate(beside[name], 1):
            last = number == len(beside[name])
            leads = (f"{follow}└─ ", f"{follow}   ") if last else (f"{follow}├─ ", f"{follow}│  ")
            yield from branch(other, f"{port}: ", *leads)

    yield drawing.title
    for name in drawing.boxes:
        if name not in others:
            yield from branch(name, "", "", "")


def mermaid(drawing: Drawing) -> str:
    """Return a Mermaid flow chart with all text escaped."""
    numbers = {name: f"n{number}" for number, name in enumerate(drawing.boxes)}
    lines = ["flowchart LR"]
    for name, box in drawing.boxes.items():
        shown = "<br/>".join(_escaped(line) for line in (box.title, *box.lines))
        shape = {"source": '[/"{}"/]', "missing": '{{{{"{}"}}}}', "version": '(["{}"])'}
        lines.append(f"  {numbers[name]}{shape.get(box.kind, '[{}]').format(_quoted(box, shown))}")
    lines += [
        f"  {numbers[start]} -- {_escaped(label)} --> {numbers[end]}"
        for start, label, end in drawing.arrows
    ]
    return "\n".join(lines) + "\n"


def _quoted(box: Box, shown: str) -> str:
    return shown if box.kind in ("source", "missing", "version") else f'"{shown}"'


def _escaped(text: str) -> str:
    """Escape a text for Mermaid: each unusual character becomes an entity code."""
    clipped = text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
    return "".join(c if c.isalnum() or c in " .,:-_/…" else f"#{ord(c)};" for c in clipped)
