"""A model card: the purpose, origin and quality of a model, as sections."""

from collections.abc import Iterator
from dataclasses import dataclass

from tfhub_blocks.control.cards.model_facts import ModelFacts
from tfhub_blocks.control.costs.accounts import account
from tfhub_blocks.control.lineage.drawing_page import Block, TextTable
from tfhub_blocks.control.project.run_terms import total
from tfhub_blocks.records.formats.champion_comparison import ChampionComparison
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.snapshots import SPLITS, SnapshotManifest

NOT_STATED = "Not stated by the owner."
NOT_HERE = "Not recorded locally."


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, lists and tables."""

    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Card:
    """A title, a summary line, and sections."""

    title: str
    summary: str
    sections: tuple[Section, ...]


def model_card(facts: ModelFacts) -> Card:
    """Return the card of a model. The same chain gives the same card at any time."""
    made = facts.lineage.provenance
    return Card(
        f"{facts.name} {facts.version}",
        f"Built by {made.step} on {made.finished}; digest {facts.output.digest}",
        (
            Section("Purpose", (facts.given.purpose or NOT_STATED,)),
            Section("Owner", (facts.owner or NOT_STATED,)),
            Section("Data", tuple(_data(facts))),
            Section("Encoder", tuple(_encoder(facts))),
            Section("Training", tuple(_training(facts))),
            Section("Metrics", tuple(_metrics(facts.evidence))),
            *([Section("Latency", tuple(_latency(facts.latency)))] if facts.latency else []),
            Section("Limits", (tuple(limits(facts)),)),
            Section("Licences", (tuple(_licences(facts)),)),
            Section("Cost", tuple(_cost(facts))),
            *([Section("Promotions", (_promotions(facts),))] if facts.promotions else []),
            Section("Digests", (_digests(facts),)),
        ),
    )


def _data(facts: ModelFacts) -> Iterator[str | TextTable]:
    if not facts.data:
        yield NOT_HERE
    for manifest in facts.data.values():
        yield (
            f"{manifest.items} {manifest.modality} items of {len(manifest.labels)} classes, "
            f"without {manifest.duplicates} duplicates and {manifest.rejected} rejected items; "
            f"snapshot {manifest.digest}"
        )
        splits = [split for split in SPLITS if split in manifest.counts]
        rows = (
            (label, *(str(manifest.counts[split].get(label, 0)) for split in splits))
            for label in manifest.labels
        )
        yield TextTable(("Class", *splits), tuple(rows))


def _encoder(facts: ModelFacts) -> Iterator[str]:
    if not facts.encoders:
        yield NOT_HERE
    for pin in facts.encoders:
        yield (
            f"{pin.name}, {pin.handle}: {pin.modality}, {pin.output.dimension} features; "
            f"digest {pin.digest}"
        )
        if pin.operations.allowed:
            yield f"The pin of {pin.name} allows {pin.operations.allowed_text}."
        if pin.assumptions:
            told = "; ".join(f"{name} {each.text}" for name, each in pin.assumptions.items())
            yield f"Assumptions about the input of {pin.name}: {told}."
        for note in pin.notes or ():
            yield f"{pin.name}: {note}."


def _training(facts: ModelFacts) -> Iterator[str | TextTable]:
    made = facts.trained.provenance
    yield f"{made.step}, {made.started} to {made.finished}"
    rows = tuple((k, str(v)) for k, v in made.parameters.items() if v is not None)
    if rows:
        yield TextTable(("Parameter", "Value"), rows)


def _metrics(evidence: Evidence | None) -> Iterator[str | TextTable]:
    if evidence is None:
        yield "No evidence about the model was found locally."
        return
    yield "The metrics are of the test split, with the intervals that the evidence states."
    yield from _tables(evidence)
    if evidence.comparison:
        yield from _comparison(evidence.comparison)


def _latency(evidence: Evidence) -> Iterator[str | TextTable]:
    measured = evidence.facts
    place = measured.get("compute_size") or "a machine without a recorded size"
    yield f"{measured.get('runtime', 'The runtime')}, in the serving process, on {place}."
    yield from _tables(evidence)


def _tables(evidence: Evidence) -> Iterator[TextTable]:
    """Yield the table of metrics, and the table of thresholds."""
    rows = tuple(
        (name.replace("_", " ").capitalize(), f"{value:.4g}", interval)
        for name, value, interval in _measured(evidence)
    )
    yield TextTable(("Metric", "Value", "Interval"), rows)
    thresholds = tuple(
        (it.name, f"{it.asked:.4g}", f"{it.measured:.4g}", "met" if it.met else "NOT met")
        for it in evidence.thresholds
    )
    yield TextTable(("Threshold", "Required", "Measured", ""), thresholds)


def _comparison(comparison: ChampionComparison) -> Iterator[str | TextTable]:
    sentence = comparison.told()
    yield f"{sentence[0].upper()}{sentence[1:]}."
    rows = tuple(
        (
            name.replace("_", " ").capitalize(),
            f"{comparison.metrics[name]['value']:.4g}" if name in comparison.metrics else "?",
            f"{change['value']:+.4g}",
            f"{change['low']:+.4g} to {change['high']:+.4g}",
        )
        for name, change in comparison.changes.items()
    )
    yield TextTable(("Metric", "Champion", "Difference", "Interval"), rows)
    yield from comparison.warnings()


def _measured(evidence: Evidence) -> Iterator[tuple[str, float, str]]:
    for name, estimate in evidence.metrics.items():
        if not isinstance(estimate, dict):
            yield name, float(estimate), ""  # type: ignore[arg-type]
        elif "value" in estimate:
            has_interval = {"low", "high"} <= estimate.keys()
            interval = f"{estimate['low']:.4g} to {estimate['high']:.4g}" if has_interval else ""
            yield name, estimate["value"], interval


def limits(facts: ModelFacts) -> Iterator[str]:
    """Yield the limits that the owner states, and those that follow from data and evidence."""
    yield from facts.given.limits
    labels = [str(label) for label in facts.metadata.get("labels", ())]
    if labels:
        yield f"The model answers every input with one of these labels: {', '.join(labels)}."
    for manifest in facts.data.values():
        yield from _data_limits(manifest)
    if facts.evidence is None:
        yield "The model was not evaluated on unseen data."
    elif facts.measured_on is None:
        yield "The data of the evaluation was not found locally."
    else:
        count = sum(facts.measured_on.counts.get("test", {}).values())
        yield f"The model was evaluated on {count} items; its accuracy on other data is unknown."
    if facts.evidence:
        yield from _evidence_limits(facts)
    if facts.evidence and not facts.evidence.passed:
        yield "The model did not meet its thresholds."
    preprocessing = facts.metadata.get("preprocessing")
    if isinstance(preprocessing, dict):
        steps = "; ".join(f"{name} {value}" for name, value in preprocessing.items())
        yield f"Preprocessing of items: {steps}."
    bare = facts.metadata.get("serving_default")
    if isinstance(bare, str):
        yield f"The SavedModel's signature serving_default prepares items differently. {bare}"


def _evidence_limits(facts: ModelFacts) -> Iterator[str]:
    """Yield the warnings of the evidence that are not warnings of the training data."""
    evidence = facts.evidence
    if evidence is None:
        return
    known = {warning for manifest in facts.data.values() for warning in manifest.warnings}
    for warning in evidence.warnings:
        if warning not in known:
            yield f"{warning[0].upper()}{warning[1:]}."


def _data_limits(manifest: SnapshotManifest) -> Iterator[str]:
    counts = manifest.counts.get("train", {})
    if counts:
        label = min(manifest.labels, key=lambda it: counts.get(it, 0))
        yield f"The model learned from {counts.get(label, 0)} items of the rarest class, {label}."
    yield from (f"{warning}." for warning in manifest.warnings)


def _licences(facts: ModelFacts) -> Iterator[str]:
    for pin in facts.encoders:
        yield f"Encoder {pin.name}: {pin.licence}"
    for manifest in facts.data.values():
        yield f"Data {manifest.digest[:12]}: {manifest.attribution or 'not stated by its source'}"
    if not facts.encoders and not facts.data:
        yield NOT_HERE


def _cost(facts: ModelFacts) -> Iterator[str | TextTable]:
    if not facts.makers:
        yield NOT_HERE
        return
    yield "The steps of the chain, with the cost of the run of each; local runs cost nothing."
    rows: list[tuple[str, ...]] = []
    costs: dict[str, list[float | None]] = {}
    for place in facts.makers:
        found = account(place.run)
        step = found.steps[place.name]
        costs.setdefault(found.currency, []).append(step.actual)
        cost = f"{_amount(step.actual)} {found.currency}".rstrip()
        rows.append((place.name, found.run, step.place, f"{step.seconds:.0f} s", cost))
    totals = [f"{_amount(total(amounts))} {name}".rstrip() for name, amounts in costs.items()]
    rows.append(("in all", "", "", "", ", ".join(totals)))
    yield TextTable(("Step", "Run", "Ran on", "Took", "Cost"), tuple(rows))


def _promotions(facts: ModelFacts) -> TextTable:
    rows = tuple(
        (it.destination, it.profile, it.asset, ", ".join(it.promoters), it.decided, it.reason)
        for it in facts.promotions
    )
    return TextTable(("To", "Profile", "As", "By", "On", "Because"), rows)


def _amount(amount: float | None) -> str:
    return "?" if amount is None else f"{amount:.4g}"


def _digests(facts: ModelFacts) -> TextTable:
    made = facts.lineage.provenance
    rows = [
        ("model", facts.output.digest),
        ("statement", facts.output.statement),
        ("code", made.code_digest),
        ("environment", made.environment_digest),
        *((f"input {it.name}", it.digest or "none") for it in made.materials),
    ]
    if facts.evidence:
        rows.append(("evidence", str(facts.evidence.as_statement()["digest"])))
    if facts.evidence and facts.evidence.comparison:
        rows.append(("champion", facts.evidence.comparison.champion))
    if facts.latency:
        rows.append(("latency evidence", str(facts.latency.as_statement()["digest"])))
    return TextTable(("Content", "SHA-256"), tuple(rows))
