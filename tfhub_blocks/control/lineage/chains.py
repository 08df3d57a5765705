"""The chain of an output: the inputs of each step, back to files that no step wrote."""

# decisions 29 and 51

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfhub_blocks.control.lineage.local_registrations import Registration
from tfhub_blocks.control.lineage.recorded_output import Output, read_output
from tfhub_blocks.control.lineage.run_archive import Archive, StepOfRun
from tfhub_blocks.records.base.digests import sources_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Material
from tfhub_blocks.records.formats.champion_comparison import CHAMPION_PORT

# The kind that compute/evaluation writes, and the step that asks who was compared.
_REPORT, _REGISTERS = "report", "register_model"


@dataclass(frozen=True)
class Link:
    """An input of a step: an output of another step, or a source that no step wrote.

    ``bound`` is True if the step's statement names the input by digest; otherwise only the record
    of the run names it. ``place`` is the path of a source, if a run recorded it. An input with
    neither ``output`` nor ``place`` was not found locally. ``compared`` marks a champion: the
    report compares with it, and no output was built from it.
    """

    material: Material
    output: Output | None = None
    place: str = ""
    bound: bool = True
    compared: bool = False

    @property
    def port(self) -> str:
        """The name of the input."""
        return self.material.name

    @property
    def is_source(self) -> bool:
        """True if the chain begins here: the input has no digest, or is a third-party file."""
        return self.output is None and (bool(self.place) or self.material.digest is None)

    @property
    def is_missing(self) -> bool:
        """True if the input has a digest, and no local output has that digest."""
        return self.output is None and not self.is_source


@dataclass(frozen=True)
class Knot:
    """A node of the chain: an output, the inputs of its step, and the steps of runs that wrote it.

    ``is_champion`` marks a model that is in the chain only because another was compared with it.
    """

    output: Output
    links: tuple[Link, ...]
    places: tuple[StepOfRun, ...]
    is_champion: bool = False


@dataclass
class Chain:
    """The outputs that some outputs were built from, and these outputs, which come first.

    Each output is contained once. ``title`` names the subject of the chain; ``registration`` is
    the version in the registry if the subject is a registered model.
    """

    title: str
    knots: dict[Path, Knot] = field(default_factory=dict)
    registration: Registration | None = None

    @property
    def roots(self) -> list[Knot]:
        """The outputs from which no other output of the chain was built."""
        links = (link for knot in self.knots.values() for link in knot.links)
        used = {link.output.path for link in links if link.output}
        return [knot for path, knot in self.knots.items() if path not in used]

    def of_kind(self, kind: str) -> list[Knot]:
        """Return the nodes whose output is of a kind, such as ``snapshot``."""
        return [knot for knot in self.knots.values() if knot.output.kind == kind]

    def behind(self, knot: Knot) -> Iterator[Knot]:
        """Yield a node and all nodes that it was built from, each once."""
        waiting, seen = [knot], {knot.output.path}
        while waiting:
            current = waiting.pop(0)
            yield current
            for link in current.links:
                if link.output and not link.compared and link.output.path not in seen:
                    seen.add(link.output.path)
                    waiting.append(self.knots[link.output.path])


def trace(title: str, archive: Archive, roots: list[Output]) -> Chain:
    """Build the chain of some outputs."""
    chain = Chain(title)
    waiting = list(roots)
    while waiting:
        output = waiting.pop(0)
        if output.path in chain.knots:
            continue
        knot = _knot(archive, output)
        chain.knots[output.path] = knot
        waiting += [
            link.output
            for link in knot.links
            if link.output
            and link.material.digest in (None, link.output.digest)
            and not link.compared
        ]
    # A swapped input or a champion is checked itself, but its own history is not followed.
    for knot in list(chain.knots.values()):
        for link in knot.links:
            if link.output and link.output.path not in chain.knots:
                chain.knots[link.output.path] = Knot(link.output, (), (), link.compared)
    return chain


def _knot(archive: Archive, output: Output) -> Knot:
    places = tuple(archive.places(_stored_twin(archive, output)))
    # A plain file carries no statement; a folder that the same step wrote does.
    speaker = archive.speaker(output)
    if speaker is None or speaker.lineage is None:
        links = tuple(_recorded_links(archive, places))
    else:
        links = tuple(_link(archive, m, places) for m in speaker.lineage.provenance.materials)
    found = (replace(it, compared=is_compared(it.port, archive, output)) for it in links)
    return Knot(output, tuple(found), places)


def is_compared(port: str, archive: Archive, output: Output) -> bool:
    """Return True if an output only compares with the input at a port.

    Any other output with such a port may have been built from the input.
    """
    speaker = archive.speaker(output)
    if port != CHAMPION_PORT or (speaker and speaker.kind != _REPORT):
        return False
    places = archive.places(output)
    return bool(speaker) or {it.step.component for it in places} == {_REGISTERS}


def _stored_twin(archive: Archive, output: Output) -> Output:
    """Return the output in the store of which this one is a copy, or else the output itself."""
    if output.key or output.lineage is None:
        return output
    making = output.lineage.making
    twin = archive.find(Material("", output.digest, output.statement, making))
    alike = twin and twin.lineage and twin.lineage.making == making
    return twin if twin and alike else output


def _link(archive: Archive, material: Material, places: tuple[StepOfRun, ...]) -> Link:
    port = material.name
    if material.digest is None:
        return next(_unbound(archive, port, places), Link(material))
    found = archive.find(material)
    if found is not None and found.digest == material.digest:
        if found.statement != material.statement:
            # Of several identical outputs, take the one that a run used. Of several with the same
            # content, such as an encoder imported twice, take the one at the recorded path.
            taken = (archive.given(place, port) for place in places)
            found = next((it for it in taken if it and _is_alike(it, found)), found)
            found = next(_stated_at(material, places), found)
        return Link(material, found)
    for place in places:
        given = archive.given(place, port)
        if given is not None:  # something else is now at the recorded path
            return Link(material, given)
        path = place.step.inputs.get(port, {}).get("path")
        if path and _is_at(material, Path(path)):
            return _link_to(material, Path(path))
    return Link(material, found)


def _stated_at(material: Material, places: tuple[StepOfRun, ...]) -> Iterator[Output]:
    """Yield outputs at the recorded input paths that carry exactly the input's statement."""
    for place in places:
        path = Path(place.step.inputs.get(material.name, {}).get("path") or "")
        if (path / STATEMENT_NAME).is_file():
            given = read_output(path)
            if given.statement == material.statement:
                yield given


def _is_alike(output: Output, other: Output) -> bool:
    makings = {it.lineage.making if it.lineage else it.path for it in (output, other)}
    return output.digest == other.digest and len(makings) == 1


def _is_at(material: Material, path: Path) -> bool:
    try:
        if path.is_dir() and not (path / STATEMENT_NAME).is_file() and not material.statement:
            # A third-party model: no step wrote it, and the step that read it computed its digest.
            return tree_digest(sources_sha256(path)) == material.digest
        return path.exists() and read_output(path).digest == material.digest
    except (OSError, BlocksError):
        return False


def _link_to(material: Material, path: Path) -> Link:
    if (path / STATEMENT_NAME).is_file():
        return Link(material, read_output(path))
    return Link(material, place=str(path))


def _recorded_links(archive: Archive, places: tuple[StepOfRun, ...]) -> Iterator[Link]:
    """Yield the inputs of a step without a statement, from the record of the newest run."""
    for place in places[:1]:
        for port, source in place.step.inputs.items():
            if "value" not in source:
                yield from _unbound(archive, port, (place,))


def _unbound(archive: Archive, port: str, places: tuple[StepOfRun, ...]) -> Iterator[Link]:
    for place in places:
        source = place.step.inputs.get(port, {})
        given = archive.given(place, port)
        if given is not None:
            yield Link(Material(port), given, bound=False)
        elif "path" in source:
            yield Link(Material(port), place=source["path"], bound=False)
