"""What a pretrained encoder has to be before a pipeline builds on it."""

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

_PIN = "pin it: `tfhub-blocks encoder pin HANDLE --to DIR`"
_DECIDE = f"decide, and write it into {PIN_NAME}; `tfhub-blocks encoder show` says what each means"


@dataclass(frozen=True)
class EncoderInPipeline:
    """An encoder that comes into a pipeline at a node; ``pin`` is None where none is here."""

    node: Node
    name: str
    pin: Pin | None


@rule(
    "encoder-pin",
    demand="an encoder is pinned by the digest of its files",
    why="the publisher may put other weights behind the same name",
    trial="note",
)
def encoder_pin(subject: Subject) -> Iterator[Finding]:
    """A pin, and no leave to go without one."""
    for node in subject.nodes:
        values = subject.values(node)
        if values.get("unpinned") == "accept":
            yield subject.at_node(node, "unpinned is 'accept'", f"{_PIN}; set unpinned=refuse")
        handle = str(values.get("handle") or "")
        if handle and is_mutable(handle):
            yield subject.at_node(node, f"{told(handle)} names no version", "name one")
        if handle and node.inputs.get("pin") is None:
            yield subject.at_node(node, f"{told(handle)} comes without a pin", _PIN)
    for encoder in _encoders(subject):
        if encoder.pin is None:
            problem = f"{encoder.name} has no {PIN_NAME} here"
            yield subject.at_node(encoder.node, problem, _PIN)


@rule(
    "encoder-decisions",
    demand="every decision about an encoder is taken",
    why="how it is loaded, tuned and served decides cost and recovery, and nobody chose",
    trial="note",
)
def encoder_decisions(subject: Subject) -> Iterator[Finding]:
    """None of them may be open."""
    for encoder in _encoders(subject):
        names = undecided(encoder.pin.decisions) if encoder.pin else []
        if names:
            problem = f"{encoder.name}: {', '.join(names)} undecided"
            yield subject.at_node(encoder.node, problem, _DECIDE)


@rule(
    "encoder-loading",
    demand="an encoder is loaded in a way that the profile allows and can do",
    why="the step would fail at its start, or depend on a publisher that may be gone",
    trial="warning",
)
def encoder_loading(subject: Subject) -> Iterator[Finding]:
    """One of ``encoder_loading``; and if it is baked, in an environment of [environments]."""
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
                f"decide otherwise in {PIN_NAME}, or widen encoder_loading in the profile",
            )
        elif loading == "baked" and encoder.pin.digest not in [it.encoder for it in baked]:
            yield subject.at_node(
                encoder.node,
                f"{encoder.name} is baked, and no environment of {profile.name} holds it",
                "`tfhub-blocks env bake DIR`, and name what it made in [environments]",
            )


@rule(
    "encoder-fine-tuning",
    demand="only an encoder whose pin allows it is fine-tuned",
    why="a licence, or a team that shares the encoder, may rule it out; the step refuses it",
)
def encoder_fine_tuning(subject: Subject) -> Iterator[Finding]:
    """Of each node of `fine_tune`, whatever steps its encoder came through."""
    encoders: dict[str, list[EncoderInPipeline]] = {}
    for encoder in _encoders(subject):
        encoders.setdefault(encoder.node.name, []).append(encoder)
    for node in subject.nodes:
        for encoder in _sources(subject, node, encoders) if node.component == "fine_tune" else ():
            decided = encoder.pin.decisions.fine_tuning if encoder.pin else "allowed"
            open_in_trial = decided == "undecided" and subject.profile.is_for_trials
            if decided != "allowed" and not open_in_trial:
                problem = f"it tunes {encoder.name}, whose pin says fine_tuning = {decided!r}"
                yield subject.at_node(node, problem, "train a head instead, or decide otherwise")


def _encoders(subject: Subject) -> Iterator[EncoderInPipeline]:
    """Each encoder that is given to a node from outside of the pipeline."""
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
    """The encoders that a node gets, from outside or from the steps that hand them on."""
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
