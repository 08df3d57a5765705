"""The uses of an output or item, as a drawing and as a summary in words."""

from collections.abc import Iterator

from tfhub_blocks.control.lineage.chain_drawing import Box, Drawing, identity, output_box, short
from tfhub_blocks.control.lineage.local_registrations import Registration
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.lineage.uses import Uses


def draw_uses(uses: Uses) -> Drawing:
    """Draw the outputs that were built from something, with registered versions at the end."""
    drawing = Drawing(uses.title)
    for output in uses.outputs.values():
        drawing.add(identity(output), output_box(output))
    for start, port, end in uses.arrows:
        drawing.join(identity(start), port, identity(end))
    models = {output.digest: identity(output) for output in uses.outputs.values()}
    for version in (*uses.retrain, *uses.measured):
        name = drawing.add(f"version {version}", Box(f"registered {version}", (), "version"))
        model = models.get(version.tags.get("model_digest", ""))
        if model:
            drawing.join(model, "registered", name)
    return drawing


def summary_lines(uses: Uses, archive: Archive) -> Iterator[str]:
    """Yield lines: where an item was found, and which runs and registered models are affected."""
    for held in uses.held:
        yield f"item {held.item} is {held.path} in split {held.split} of {held.snapshot.path}"
    for row in uses.scored:
        yield f"item {row.item or '?'} is {row.path} in the predictions {row.predictions.path}"
    for snapshot, reason in uses.rejected:
        yield f"{snapshot.path} does not contain the file, which was rejected: {reason}"
    kinds: dict[str, list[str]] = {}
    for output in uses.outputs.values():
        kinds.setdefault(output.kind, []).append(short(output.digest))
    for kind, digests in kinds.items():
        yield f"{kind}: {', '.join(dict.fromkeys(digests))}"
    places = (it for output in uses.outputs.values() for it in archive.places(output))
    yield f"runs: {', '.join(sorted({it.run.run for it in places})) or 'none'}"
    word = "to retrain without the item" if uses.held or uses.scored else "built from it"
    yield f"registered models {word}: {_names(uses.retrain)}"
    if uses.held:
        yield f"registered models to evaluate again without the item: {_names(uses.measured)}"


def _names(versions: list[Registration]) -> str:
    return ", ".join(map(str, versions)) or "none"
