"""Facts about an encoder's input: from the user, its signature, its graph or its publisher."""

# decisions 9 and 97

from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from tfhub_blocks.compute.encoders.input_graph import EncoderGraph
from tfhub_blocks.compute.encoders.publisher_families import Family
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.pins.pins import Assumption, FactSource

# Facts of pixels that belong together: who passes one of them decides about all.
_PIXELS = ("range", "mean", "deviation", "channels")
_USUAL = {
    "size_px": "no size is stated",
    "range": "TF Hub's common image signature",
}


@dataclass(frozen=True)
class MissingFact:
    """A fact that the user has to pass, with the reason and its form."""

    name: str
    problem: str
    form: str


@dataclass(frozen=True, eq=False)
class SeenInput:
    """The input of a SavedModel: its modality, spec, and stated and usual facts.

    ``function`` is the concrete function of the call.
    """

    modality: type[Modality]
    spec: Any
    stated: Mapping[str, Any]
    usual: Mapping[str, Any]
    function: Any

    @property
    def outputs(self) -> Any:
        """The outputs, as the SavedModel structures them."""
        return self.function.structured_outputs


@dataclass(frozen=True)
class InputFacts:
    """The pin's table ``input``, and the assumptions behind it."""

    record: dict[str, Any]
    assumptions: dict[str, Assumption]


def input_facts(
    seen: SeenInput,
    told: Mapping[str, Any],
    family: Family | None,
    output_facts: Collection[str],
    where: str,
) -> tuple[InputFacts, list[MissingFact]]:
    """Return the facts about an input with their sources, and the facts that are missing.

    A fact that the SavedModel states counts first, then one that the user passes, then one that
    the graph shows, then one that is known for the publisher's family.

    Raises:
        BlocksError: A passed fact is unknown, or contradicts the SavedModel.
    """
    modality = seen.modality
    own = {field.name: field.default for field in fields(modality)}
    _check_told(modality, own, seen.stated, told, output_facts, where)
    found = dict(_found(seen, told, family))
    record = {name: value for name, (value, _, _) in found.items() if name in own}
    missing = []
    for name, default in own.items():
        if name not in record and default is MISSING:
            problem = f"this SavedModel takes {modality.name}, but does not state its {name}"
            form = f"{name}=VALUE, with the value from the publisher's page"
            missing.append(MissingFact(name, problem, form))
        # Pins of earlier versions lack newer facts, and stay equal.
        elif name not in modality.implied:
            record.setdefault(name, default)
    untold = {name: each for name, each in _untold(seen, family) if name not in found}
    assumptions = {
        name: Assumption(_text(value), source, because)
        for name, (value, source, because) in {**found, **untold}.items()
    }
    return InputFacts(record, assumptions), missing


def check_missing(missing: Collection[MissingFact], where: str) -> None:
    """Ask for all missing facts at once.

    Raises:
        BlocksError: A fact is missing.
    """
    if not missing:
        return
    names = [each.name for each in missing]
    are = f"the fact{'s' if len(names) > 1 else ''} {' and '.join(names)}"
    forms = ", and ".join(each.form for each in missing)
    raise BlocksError(
        where,
        ", ".join(names),
        "; and ".join(each.problem for each in missing),
        are,
        f"Pass {are}: {forms}",
    )


def _check_told(
    modality: type[Modality],
    own: Mapping[str, Any],
    stated: Mapping[str, Any],
    told: Mapping[str, Any],
    output_facts: Collection[str],
    where: str,
) -> None:
    for key, value in told.items():
        known = [*own, *output_facts]
        if key not in known:
            problem, expected = f"{key} is no fact of {modality.name}", f"one of {', '.join(known)}"
            remedy = nearest(key, known) or f"Leave {key} out of the facts"
            raise BlocksError(where, key, problem, expected, remedy)
        if key in stated and value != stated[key]:
            expected = f"{stated[key]}, as the SavedModel states"
            remedy = f"Leave {key} out of the facts"
            raise BlocksError(where, key, f"the fact {key} is {value}", expected, remedy)


def _found(
    seen: SeenInput, told: Mapping[str, Any], family: Family | None
) -> Iterator[tuple[str, tuple[Any, FactSource, str]]]:
    """Yield each fact as its name, and value, source and reason."""
    own = {field.name: field.default for field in fields(seen.modality)}
    passed = {name: _listed(name, value) for name, value in told.items() if name in own}
    known = {} if family is None else {k: v for k, v in family.facts.items() if k in own}
    graph = _graph_facts(seen)
    if any(name in passed for name in _PIXELS) or "encoded" in seen.stated:
        known = {name: value for name, value in known.items() if name not in _PIXELS}
        graph = {} if "range" not in passed else graph
    elif graph:
        # The layers of the graph do what the publisher's own preparation would do.
        known = {name: value for name, value in known.items() if name not in _PIXELS}
    for name in own:
        if name in seen.stated:
            yield name, (seen.stated[name], "stated", "its signature")
        elif name in passed:
            seems = _text(graph[name][0]) if name in graph else ""
            differs = seems not in ("", _text(passed[name]))
            because = f"though the graph suggests {seems}" if differs else "by the user"
            yield name, (passed[name], "passed", because)
        elif name in graph:
            yield name, (graph[name][0], "graph", graph[name][1])
        elif name in known and family is not None:
            yield name, (known[name], "family", f"{family.name}, {family.source}")
        elif name in seen.usual:
            is_integer = name == "range" and seen.spec.dtype.is_integer
            source: FactSource = "stated" if is_integer else "assumed"
            because = f"dtype {seen.spec.dtype.name}" if is_integer else _USUAL.get(name, "usual")
            yield name, (seen.usual[name], source, because)


def _graph_facts(seen: SeenInput) -> dict[str, tuple[Any, str]]:
    if seen.modality.name != "image" or "encoded" in seen.stated or seen.spec.dtype.is_integer:
        return {}
    found = EncoderGraph(seen.function, None).stated_range()
    return {"range": (list(found[0]), found[1])} if found else {}


def _untold(
    seen: SeenInput, family: Family | None
) -> Iterator[tuple[str, tuple[str, FactSource, str]]]:
    """Yield assumptions that are no facts of the pin."""
    known = {} if family is None else family.told
    name = seen.modality.name
    if name == "image" and "encoded" in seen.stated:
        yield "resizing", ("by the encoder", "graph", "it takes encoded files")
    elif name == "image":
        yield "channels", ("rgb", "assumed", "TF Hub's common image signature")
        yield "mean", ("0, with deviation 1", "assumed", "TF Hub's common image signature")
        stretched = "stretched to the size, bilinear, nothing cropped"
        yield "resizing", (stretched, "assumed", "TF Hub's common image signature")
    if name == "text":
        yield "tokenizer", ("inside the SavedModel", "graph", "it takes texts")
        if "language" not in known:
            yield "language", ("unknown", "assumed", "no publisher's page is known")
    for fact, value in known.items():
        if family is not None:
            yield fact, (value, "family", f"{family.name}, {family.source}")


def _listed(name: str, value: Any) -> Any:
    return [value] if name in ("mean", "deviation") and not isinstance(value, list) else value


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ":".join(_text(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
