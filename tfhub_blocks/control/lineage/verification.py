"""The check of a whole chain: every byte, every statement, every step from one to the next."""

from collections.abc import Mapping
from typing import Any

from tfhub_blocks.control.lineage.chain_evidence import check_evidence
from tfhub_blocks.control.lineage.chains import Chain, Knot, Link
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.model_tags import check_registration
from tfhub_blocks.control.lineage.output_contents import check_content
from tfhub_blocks.control.lineage.promotion_statements import check_promotions
from tfhub_blocks.control.lineage.run_archive import Archive, StepOfRun
from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Provenance


def verify(chain: Chain, archive: Archive) -> Verdict:
    """All that is wrong with a chain, and all of it that is not here."""
    verdict = Verdict(chain.title)
    old = 0
    for knot in chain.knots.values():
        check_content(knot.output, verdict)
        for link in knot.links:
            _check_link(knot, link, verdict)
        old += any(link.output and link.bound and not link.material.making for link in knot.links)
        for place in knot.places:
            _check_place(knot, place, archive, verdict)
        if knot.output.lineage is None and not any(link.bound for link in knot.links):
            verdict.note(f"{knot.output.path} carries no statement: only records tell of it")
    if old:
        verdict.note(f"{old} outputs are of before statements were bound: they name contents alone")
    check_evidence(chain, archive, verdict)
    check_registration(chain, archive, verdict)
    check_promotions(chain, archive, verdict)
    return verdict


def _check_link(knot: Knot, link: Link, verdict: Verdict) -> None:
    """Hold what a statement names against what is there."""
    material, output = link.material, link.output
    if link.is_source and link.compared:
        return  # it is no beginning of what was made, and a statement binds it elsewhere
    if link.is_source:
        source = f"{knot.output.path} {link.port} <- {link.place or 'a folder without lineage'}"
        if source not in verdict.sources:
            verdict.sources.append(source)
    elif output is None and link.compared:
        told = f"{knot.output.path} was compared with the champion {material.digest}, not here"
        verdict.note(told)
    elif output is None:
        verdict.gap(
            "input", knot.output.path, link.port, f"content {material.digest}", "it is not here"
        )
    elif not link.bound:
        if knot.output.lineage:
            told = f"{knot.output.path} names no digest of {link.port}: a run alone tells of it"
            verdict.note(told)
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
            verdict.note(f"{output.path} was made again since, from the same in the same way")
        else:
            told = f"sha256 {output.statement} in" if output.statement else "no sound one in"
            verdict.fault(
                "statement",
                knot.output.path,
                link.port,
                f"{STATEMENT_NAME} with sha256 {material.statement}",
                f"{told} {output.path}: edited, or made in another way",
            )


def _check_place(knot: Knot, place: StepOfRun, archive: Archive, verdict: Verdict) -> None:
    """Hold a statement against what a run recorded of its step."""
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
                f"content {material.digest}, as {knot.output.path} says",
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
            told = repr(made.parameters[name]) if name in made.parameters else "no such parameter"
            expected = given.get(name, "nothing")
            verdict.fault("parameter", place, name, expected, f"{told} in its statement")


def _is_same(text: str | None, name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a text of a command line and a parameter of a statement are one value."""
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
