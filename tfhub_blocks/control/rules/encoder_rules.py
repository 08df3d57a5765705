"""Rules on pretrained encoders, before a pipeline uses them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.control.project.run_requests import NotGiven
from tfhub_blocks.control.project.step_graph import Node, OutputOf
from tfhub_blocks.control.repository.catalog import MODEL_TYPES
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject, told
from tfhub_blocks.records.pins.encoder_decisions import undecided
from tfhub_blocks.records.pins.handles import is_mutable
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin

_PIN = "Pin the encoder with `tfhub-blocks encoder pin HANDLE --to DIR`"
_DECIDE = f"Write each decision into {PIN_NAME}; `tfhub-blocks encoder show DIR` explains them"


@dataclass(frozen=True)
class EncoderInPipeline:
    """An encoder that enters a pipeline at a node; ``pin`` is None without a local pin."""

    node: Node
    name: str
    pin: Pin | None


@rule(
    "encoder-pin",
    demand="an encoder is pinned by the digest of its files",
    why="the publisher may publish other weights under the same name",
    trial="note",
)
def encoder_pin(subject: Subject) -> Iterator[Finding]:
    """Find encoders without a pin or a version, and nodes that accept unpinned encoders."""
    for node in subject.nodes:
        values = subject.values(node)
        if values.get("unpinned") == "accept":
            yield subject.at_node(node, "unpinned is 'accept'", f"{_PIN}, and set unpinned=refuse")
        handle = str(values.get("handle") or "")
        if handle and is_mutable(handle):
            yield subject.at_node(
                node, f"{told(handle)} names no version", "Add the version to the handle"
            )
        if handle and node.inputs.get("pin") is None:
            yield subject.at_node(node, f"{told(handle)} is imported without a pin", _PIN)
    for encoder in _encoders(subject):
        if encoder.pin is None:
            problem = f"{encoder.name} has no local {PIN_NAME}"
            yield subject.at_node(encoder.node, problem, _PIN)


@rule(
    "encoder-decisions",
    demand="every decision about an encoder is made",
    why="cost and recovery depend on how the encoder is loaded, tuned and served",
    trial="note",
)
def encoder_decisions(subject: Subject) -> Iterator[Finding]:
    """Find encoders with open decisions."""
    for encoder in _encoders(subject):
        names = undecided(encoder.pin.decisions) if encoder.pin else []
        if names:
            problem = f"{encoder.name}: {', '.join(names)} undecided"
            yield subject.at_node(encoder.node, problem, _DECIDE)


@rule(
    "encoder-loading",
    demand="an encoder is loaded in a way that the profile allows and supports",
    why="otherwise the step fails at its start, or depends on a publisher that may disappear",
    trial="warning",
)
def encoder_loading(subject: Subject) -> Iterator[Finding]:
    """Find encoders not in ``encoder_loading``, and baked ones without their environment."""
    profile = subject.profile
    names = profile.environments.values()
    baked = [it for it in subject.repository.environment_definitions if it.name in names]
    for encoder in _encoders(subject):
        loading = encoder.pin.decisions.loading if encoder.pin else "undecided"
        if encoder.pin is None or loading == "undecided":
            continue
        if loading not in profile.encoder_loading:
            yield subject.at_node(
                encoder.node,
                f"{encoder.name} is {loading}, and {profile.name} allows "
                + ", ".join(profile.encoder_loading),
                f"Change decisions.loading in {PIN_NAME}, or extend encoder_loading in the profile",
            )
        elif loading == "baked" and encoder.pin.digest not in [it.encoder for it in baked]:
            yield subject.at_node(
                encoder.node,
                f"{encoder.name} is baked, and no environment of {profile.name} contains it",
                "Run `tfhub-blocks env bake DIR`, and name the environment in [environments]",
            )


@rule(
    "encoder-fine-tuning",
    demand="only an encoder whose pin allows fine-tuning is fine-tuned",
    why="a licence, or a team that shares the encoder, may forbid it, and the step refuses it",
)
def encoder_fine_tuning(subject: Subject) -> Iterator[Finding]:
    """Find nodes of `fine_tune` with such an encoder, also if it passed through other steps."""
    encoders: dict[str, list[EncoderInPipeline]] = {}
    for encoder in _encoders(subject):
        encoders.setdefault(encoder.node.name, []).append(encoder)
    for node in subject.nodes:
        for encoder in _sources(subject, node, encoders) if node.component == "fine_tune" else ():
            decided = encoder.pin.decisions.fine_tuning if encoder.pin else "allowed"
            open_in_trial = decided == "undecided" and subject.profile.is_for_trials
            if decided != "allowed" and not open_in_trial:
                problem = f"the node tunes {encoder.name}, whose pin sets fine_tuning = {decided!r}"
                remedy = f"Train a head instead, or set decisions.fine_tuning in {PIN_NAME}"
                yield subject.at_node(node, problem, remedy)


def _encoders(subject: Subject) -> Iterator[EncoderInPipeline]:
    """Yield each encoder that enters a node from outside of the pipeline."""
    for node in subject.nodes:
        held = node.inputs.get("pin")
        own = read_pin(held) if isinstance(held, Path) and held.is_file() else None
        if own is not None and (handle := subject.values(node).get("handle")):
            yield EncoderInPipeline(node, told(str(handle)), own)
        for port, value in node.inputs.items():
            kind = node.input_types[port]
            if kind not in MODEL_TYPES - {"mlflow_model"} or isinstance(value, OutputOf):
                continue
            is_open = isinstance(value, NotGiven)
            for text in subject.scheduled(value) if is_open else [str(value)]:
                yield EncoderInPipeline(node, told(text), own or subject.repository.pin(text))


def _sources(
    subject: Subject, node: Node, encoders: dict[str, list[EncoderInPipeline]]
) -> Iterator[EncoderInPipeline]:
    """Yield the encoders that a node receives, from outside or through other steps."""
    waiting, seen = [node.name], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield from encoders.get(name, ())
        found = subject.graph.nodes[name]
        for port, value in found.inputs.items():
            if isinstance(value, OutputOf) and found.input_types[port] == "custom_model":
                waiting.append(value.node)
