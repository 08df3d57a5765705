"""A model card: what a model is for, made from and good for, as sections."""

from collections.abc import Iterator
from dataclasses import dataclass

from tfhub_blocks.control.cards.model_facts import ModelFacts
from tfhub_blocks.control.costs.accounts import account
from tfhub_blocks.control.project.run_terms import total
from tfhub_blocks.records.formats.champion_comparison import ChampionComparison
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.snapshots import SPLITS, SnapshotManifest

NOT_STATED = "Not stated by the owner."
NOT_HERE = "Not recorded here."


@dataclass(frozen=True)
class CardTable:
    """Texts in rows below a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading; what follows are paragraphs, lists and tables."""

    heading: str
    blocks: tuple["str | tuple[str, ...] | CardTable", ...]


@dataclass(frozen=True)
class Card:
    """A title, a line below it, and sections."""

    title: str
    summary: str
    sections: tuple[Section, ...]


def model_card(facts: ModelFacts) -> Card:
    """The card of a model. The same chain gives the same card, whenever it is asked for."""
    made = facts.lineage.provenance
    return Card(
        f"{facts.name} {facts.version}",
        f"Made by {made.step} on {made.finished}; digest {facts.output.digest}",
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


def _data(facts: ModelFacts) -> "Iterator[str | CardTable]":
    if not facts.data:
        yield NOT_HERE
    for manifest in facts.data.values():
        yield (
            f"{manifest.items} {manifest.modality} items of {len(manifest.labels)} classes, "
            f"{manifest.duplicates} duplicates and {manifest.rejected} rejected ones left out; "
            f"snapshot {manifest.digest}"
        )
        splits = [split for split in SPLITS if split in manifest.counts]
        rows = (
            (label, *(str(manifest.counts[split].get(label, 0)) for split in splits))
            for label in manifest.labels
        )
        yield CardTable(("Class", *splits), tuple(rows))


def _encoder(facts: ModelFacts) -> Iterator[str]:
    if not facts.encoders:
        yield NOT_HERE
    for pin in facts.encoders:
        yield (
            f"{pin.name}, {pin.handle}: {pin.modality}, {pin.output.dimension} features; "
            f"digest {pin.digest}"
        )


def _training(facts: ModelFacts) -> "Iterator[str | CardTable]":
    made = facts.trained.provenance
    yield f"{made.step}, {made.started} to {made.finished}"
    rows = tuple((k, str(v)) for k, v in made.parameters.items() if v is not None)
    if rows:
        yield CardTable(("Parameter", "Value"), rows)


def _metrics(evidence: Evidence | None) -> "Iterator[str | CardTable]":
    if evidence is None:
        yield "There is no evidence about it here."
        return
    yield "On the test split; the intervals are those that the evidence states."
    yield from _tables(evidence)
    if evidence.comparison:
        yield from _comparison(evidence.comparison)


def _latency(evidence: Evidence) -> "Iterator[str | CardTable]":
    told = evidence.facts
    place = told.get("compute_size") or "a machine that nobody named"
    yield f"{told.get('runtime', 'Its runtime')}, as it is served, on {place}."
    yield from _tables(evidence)


def _tables(evidence: Evidence) -> Iterator[CardTable]:
    """What was measured, and what was asked."""
    rows = tuple(
        (name.replace("_", " ").capitalize(), f"{value:.4g}", interval)
        for name, value, interval in _measured(evidence)
    )
    yield CardTable(("Metric", "Value", "Interval"), rows)
    asked = tuple(
        (it.name, f"{it.asked:.4g}", f"{it.measured:.4g}", "met" if it.met else "NOT met")
        for it in evidence.thresholds
    )
    yield CardTable(("Threshold", "Asked", "Measured", ""), asked)


def _comparison(comparison: ChampionComparison) -> "Iterator[str | CardTable]":
    told = comparison.told()
    yield f"{told[0].upper()}{told[1:]}."
    rows = tuple(
        (
            name.replace("_", " ").capitalize(),
            f"{comparison.metrics[name]['value']:.4g}" if name in comparison.metrics else "?",
            f"{change['value']:+.4g}",
            f"{change['low']:+.4g} to {change['high']:+.4g}",
        )
        for name, change in comparison.changes.items()
    )
    yield CardTable(("Metric", "Champion", "Difference", "Interval"), rows)
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
    """What the owner says, and what follows from data and evidence."""
    yield from facts.given.limits
    labels = [str(label) for label in facts.metadata.get("labels", ())]
    if labels:
        yield f"It answers with one of these, whatever it is given: {', '.join(labels)}."
    for manifest in facts.data.values():
        yield from _data_limits(manifest)
    if facts.evidence is None:
        yield "Nobody has measured it on data that it did not learn from."
    elif facts.measured_on is None:
        yield "The data that it was measured on is not here."
    else:
        count = sum(facts.measured_on.counts.get("test", {}).values())
        yield f"It was measured on {count} items; of other data nothing is known."
    if facts.evidence and not facts.evidence.passed:
        yield "It did not meet what was asked of it."
    preprocessing = facts.metadata.get("preprocessing")
    if isinstance(preprocessing, dict):
        told = "; ".join(f"{name} {value}" for name, value in preprocessing.items())
        yield f"Items are prepared so: {told}."


def _data_limits(manifest: SnapshotManifest) -> Iterator[str]:
    counts = manifest.counts.get("train", {})
    if counts:
        label = min(manifest.labels, key=lambda it: counts.get(it, 0))
        yield f"Of the rarest class, {label}, it learned from {counts.get(label, 0)} items."
    yield from (f"{warning}." for warning in manifest.warnings)


def _licences(facts: ModelFacts) -> Iterator[str]:
    for pin in facts.encoders:
        yield f"Encoder {pin.name}: {pin.licence}"
    for manifest in facts.data.values():
        yield f"Data {manifest.digest[:12]}: {manifest.attribution or 'its source says nothing'}"
    if not facts.encoders and not facts.data:
        yield NOT_HERE


def _cost(facts: ModelFacts) -> "Iterator[str | CardTable]":
    if not facts.makers:
        yield NOT_HERE
        return
    yield "Of each step behind it, when that made what went into it; this machine costs nothing."
    rows: list[tuple[str, ...]] = []
    costs: dict[str, list[float | None]] = {}
    for place in facts.makers:
        found = account(place.run)
        step = found.steps[place.name]
        costs.setdefault(found.currency, []).append(step.actual)
        cost = f"{_amount(step.actual)} {found.currency}".rstrip()
        rows.append((place.name, found.run, step.place, f"{step.seconds:.0f} s", cost))
    told = [f"{_amount(total(amounts))} {name}".rstrip() for name, amounts in costs.items()]
    rows.append(("in all", "", "", "", ", ".join(told)))
    yield CardTable(("Step", "Run", "Ran on", "Took", "Cost"), tuple(rows))


def _promotions(facts: ModelFacts) -> CardTable:
    rows = tuple(
        (it.destination, it.profile, it.asset, ", ".join(it.promoters), it.decided, it.reason)
        for it in facts.promotions
    )
    return CardTable(("To", "Profile", "As", "By", "On", "Because"), rows)


def _amount(amount: float | None) -> str:
    return "?" if amount is None else f"{amount:.4g}"


def _digests(facts: ModelFacts) -> CardTable:
    made = facts.lineage.provenance
    rows = [
        ("model", facts.output.digest),
        ("its statement", facts.output.statement),
        ("code", made.code_digest),
        ("environment", made.environment_digest),
        *((f"input {it.name}", it.digest or "none") for it in made.materials),
    ]
    if facts.evidence:
        rows.append(("evidence", str(facts.evidence.as_statement()["digest"])))
    if facts.evidence and facts.evidence.comparison:
        rows.append(("champion", facts.evidence.comparison.champion))
    if facts.latency:
        rows.append(("evidence of latency", str(facts.latency.as_statement()["digest"])))
    return CardTable(("What", "SHA-256"), tuple(rows))
