"""The check of a complete chain: each byte, each statement, and each link between two steps."""

# decision 29

from collections.abc import Mapping
from typing import Any

from tfhub_blocks.control.lineage.chain_evidence import check_evidence
from tfhub_blocks.control.lineage.chains import Chain, Knot, Link
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.model_tags import check_registration
from tfhub_blocks.control.lineage.output_contents import check_content
from tfhub_blocks.control.lineage.promotion_statements import check_promotions
from tfhub_blocks.control.lineage.run_archive import Archive, StepOfRun
from tfhub_blocks.control.lineage.withdrawn_outputs import check_withdrawals
from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Provenance
from tfhub_blocks.records.formats.data_versions import CHILD_FACT, read_child


def verify(chain: Chain, archive: Archive) -> Verdict:
    """Check a chain, and return its faults, its missing parts and notes."""
    verdict = Verdict(chain.title)
    old = 0
    for knot in chain.knots.values():
        check_content(knot.output, verdict)
        for link in knot.links:
            _check_link(knot, link, verdict)
        _check_child(knot, verdict)
        old += any(link.output and link.bound and not link.material.making for link in knot.links)
        for place in knot.places:
            _check_place(knot, place, archive, verdict)
        if knot.output.lineage is None and not any(link.bound for link in knot.links):
            verdict.note(f"{knot.output.path} carries no statement: only a run records its inputs")
    if old:
        verdict.note(
            f"{old} outputs have statements of an old form, which name inputs by content only"
        )
    check_evidence(chain, archive, verdict)
    check_registration(chain, archive, verdict)
    check_promotions(chain, archive, verdict)
    check_withdrawals(chain, verdict)
    return verdict


def _check_link(knot: Knot, link: Link, verdict: Verdict) -> None:
    """Compare an input that a statement names with the output that exists."""
    material, output = link.material, link.output
    if link.is_source and link.compared:
        return  # no output was built from it, and the statement of another step binds it
    if link.is_source:
        source = f"{knot.output.path} {link.port} <- {link.place or 'a folder without lineage'}"
        if source not in verdict.sources:
            verdict.sources.append(source)
    elif output is None and link.compared:
        verdict.note(
            f"{knot.output.path} was compared with the champion {material.digest}, which was not "
            "found locally"
        )
    elif output is None:
        verdict.gap(
            "input",
            knot.output.path,
            link.port,
            f"content {material.digest}",
            "not found locally",
        )
    elif not link.bound:
        if knot.output.lineage:
            verdict.note(
                f"{knot.output.path} states no digest of {link.port}: only a run records this input"
            )
    elif output.digest != material.digest:
        verdict.fault(
            "swap",
            knot.output.path,
            link.port,
            f"content {material.digest}",
            f"content {output.digest} in {output.path}",
        )
    elif material.statement and output.statement != material.statement:
        if output.lineage and output.lineage.making == material.making:
            verdict.note(f"{output.path} was rebuilt later, from the same inputs in the same way")
        else:
            found = f"sha256 {output.statement}" if output.statement else "no valid statement"
            verdict.fault(
                "statement",
                knot.output.path,
                link.port,
                f"{STATEMENT_NAME} with sha256 {material.statement}",
                f"{found} in {output.path}: edited, or produced in another way",
            )


def _check_child(knot: Knot, verdict: Verdict) -> None:
    """Check that the child lock in a statement is complete, and names the input that was read."""
    lineage = knot.output.lineage
    fact = lineage.provenance.facts.get(CHILD_FACT) if lineage else None
    if lineage is None or fact is None:
        return
    try:
        child = read_child(fact)
    except (ValueError, AttributeError) as error:
        verdict.fault("release", knot.output.path, CHILD_FACT, "a valid child lock", str(error))
        return
    read = {material.digest for material in lineage.provenance.materials}
    if child.content not in read:
        verdict.fault(
            "release",
            knot.output.path,
            CHILD_FACT,
            f"an input with content {child.content}, data {child.name}:{child.version}",
            "no such input in the statement",
        )
    if child.release != lineage.provenance.facts.get("release_lock"):
        found = str(lineage.provenance.facts.get("release_lock", "no release lock"))
        verdict.fault("release", knot.output.path, CHILD_FACT, child.release, found)


def _check_place(knot: Knot, place: StepOfRun, archive: Archive, verdict: Verdict) -> None:
    """Compare a statement with the record of its step in a run."""
    lineage = knot.output.lineage
    if lineage is None:
        return
    made = lineage.provenance
    if place.step.component != made.step:
        verdict.fault(
            "run", place, "component", place.step.component, f"a statement of {made.step}"
        )
    if place.step.inputs:
        _check_parameters(place, made, verdict)
    for port in place.step.inputs:
        material, given = lineage.material(port), archive.given(place, port)
        if given and material and material.digest and given.digest != material.digest:
            verdict.fault(
                "swap",
                place,
                port,
                f"content {material.digest}, as {knot.output.path} states",
                f"content {given.digest} in {given.path}",
            )
    code = place.folder / "steps" / place.name / "code"
    if code.is_dir():
        try:
            digest = tree_digest(files_sha256(code))
        except (BlocksError, OSError) as error:
            digest = str(error)
        if digest != made.code_digest:
            verdict.fault("code", code, "content", f"code {made.code_digest}", digest)


def _check_parameters(place: StepOfRun, made: Provenance, verdict: Verdict) -> None:
    given = {p: v["value"] for p, v in place.step.inputs.items() if "value" in v}
    for name in sorted(given.keys() | made.parameters.keys()):
        if not _is_same(given.get(name), name, made.parameters):
            stated = repr(made.parameters[name]) if name in made.parameters else "no such parameter"
            expected = given.get(name, "nothing")
            verdict.fault("parameter", place, name, expected, f"{stated} in the statement")


def _is_same(text: str | None, name: str, parameters: Mapping[str, Any]) -> bool:
    """Return True if a text of a command line and a parameter of a statement are one value."""
    value: object = parameters.get(name)
    if text is None or value is None:
        return text is None and value is None
    if isinstance(value, bool):
        return text.casefold() in (("true", "1") if value else ("false", "0"))
    if isinstance(value, int | float):
        try:
            return float(text) == float(value)
        except ValueError:
            return False
    return text == value
