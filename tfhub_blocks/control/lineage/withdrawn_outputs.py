"""Outputs that depend on something withdrawn: in a chain, in a folder, and in the registry."""

# decision 65

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tfhub_blocks.control.lineage.chains import Chain, Knot
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.lineage_targets import find_chain
from tfhub_blocks.control.lineage.local_registrations import Registration, registered
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.lineage.uses import data_version_of
from tfhub_blocks.control.project.withdrawal_files import in_force, read_withdrawals
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.formats.champion_comparison import CHAMPION_PORT
from tfhub_blocks.records.formats.releases import ReleaseLock
from tfhub_blocks.records.formats.withdrawals import NAME_DIGITS, TAG
from tfhub_blocks.records.formats.withdrawn import Mark, Withdrawn, refuse_withdrawn

if TYPE_CHECKING:  # step graphs import azure-ai-ml, which takes seconds
    from tfhub_blocks.control.project.step_graph import Graph


def check_withdrawals(chain: Chain, verdict: Verdict) -> None:
    """Add a fault for each output of a chain that depends on something withdrawn."""
    version = chain.registration
    if version and (about := tagged(version)):
        verdict.fault("withdrawn", version, f"tag {TAG}", "no withdrawal", about)
    withdrawn = in_force("verify")
    if version and (found := _registered(version, withdrawn)):
        verdict.fault("withdrawn", version, "model", "no withdrawal in its lineage", found.about)
    for knot in chain.knots.values():
        if not knot.is_champion and (found := _in_knot(knot, withdrawn)):
            where = str(knot.output.path)
            verdict.fault("withdrawn", where, knot.output.kind, "nothing withdrawn", found.about)


def refuse_withdrawn_target(where: str, text: str, archive: Archive) -> None:
    """Refuse a model, a run or an output that depends on something withdrawn.

    Raises:
        BlocksError: The target's chain contains something withdrawn, or its registry says so.
    """
    # Only a name can be that of a registered model.
    if not in_force(where) and ("/" in text or not _is_registered(archive)):
        return
    try:
        chain = find_chain(text, archive, where)
    except BlocksError:
        if not Path(text).is_dir():
            raise
        # A folder that no step wrote has no chain.
        refuse_withdrawn(where, text, in_force(where).in_folder(Path(text)))
        return
    refuse_withdrawn_chain(where, text, chain)


def refuse_withdrawn_model(where: str, what: str, version: Registration) -> None:
    """Refuse a downloaded model by its tags and by its own files, where no chain is known.

    Raises:
        BlocksError: The model depends on something withdrawn, or a tag states a withdrawal.
    """
    refuse_withdrawn_tags(where, what, version)
    refuse_withdrawn(where, what, in_force(where).in_folder(version.source))


def refuse_withdrawn_tags(where: str, what: str, version: Registration) -> None:
    """Refuse a model by its tags, where its files are not known.

    Raises:
        BlocksError: The tags name something withdrawn, or state a withdrawal.
    """
    if about := tagged(version):
        refuse_withdrawn(where, what, Mark("digest", "", about))
    refuse_withdrawn(where, what, _registered(version, in_force(where)))


def refuse_withdrawn_inputs(where: str, graph: "Graph", archive: Archive) -> None:
    """Refuse a graph with an input that depends on something withdrawn.

    A champion is no such input, because steps only compare with it.

    Raises:
        BlocksError: The chain of an input contains something withdrawn.
    """
    withdrawn = in_force(where)
    given = (it for node in graph.nodes.values() for it in node.inputs.items())
    for port, value in given if withdrawn else ():
        if port == CHAMPION_PORT or not isinstance(value, (Path, str)):
            continue
        if version := data_version_of(str(value)):
            refuse_withdrawn(where, port, withdrawn.of_version(*version))
        elif isinstance(value, Path):
            refuse_withdrawn(where, port, withdrawn.in_folder(value))
            if (value / STATEMENT_NAME).is_file():
                chain = find_chain(str(value.absolute()), archive, where)
                refuse_withdrawn_chain(where, port, chain)


def refuse_withdrawn_lock(where: str, lock: ReleaseLock) -> None:
    """Refuse a release lock that contains withdrawn data or a withdrawn encoder or model.

    The data and the evidence of a lock with an open input are not compared: each run of the lock
    chooses its version of the data, and the step refuses what is withdrawn.

    Raises:
        BlocksError: The lock contains something withdrawn.
    """
    for name, found in in_lock(lock, in_force(where)):
        refuse_withdrawn(where, f"release {lock.name} > {name}", found)


def in_lock(lock: ReleaseLock, withdrawn: Withdrawn) -> Iterator[tuple[str, Mark]]:
    """Yield each part of a release lock that is withdrawn, by its key."""
    for name, it in lock.given.items() if withdrawn else ():
        if name not in (lock.open or {}):
            found = withdrawn.of_digests([it.digest, getattr(it, "encoder_digest", "")])
            if found := found or withdrawn.of_version(it.name, it.version):
                yield name, found
    evidence = lock.evidence if withdrawn and not lock.open else None
    if evidence and (found := withdrawn.of_digests([evidence.model_digest])):
        yield "evidence", found


def refuse_withdrawn_chain(where: str, what: str, chain: Chain) -> None:
    """Refuse a chain that contains something withdrawn.

    Raises:
        BlocksError: An output of the chain depends on something withdrawn.
    """
    verdict = Verdict(chain.title)
    check_withdrawals(chain, verdict)
    for fault in verdict.faults:
        refuse_withdrawn(where, what, Mark("digest", "", fault.found))


def tagged(version: Registration) -> str:
    """Return what the registry states about the withdrawal of a version, or an empty text.

    A withdrawal that the project contains decides itself, whatever the tag states.
    """
    digest = version.tags.get(TAG, "")
    if not digest or any(it.digest == digest for it in read_withdrawals("verify")):
        return ""
    return (
        f"model {version}, withdrawn by statement {digest[:NAME_DIGITS]}, which this project does"
        " not contain"
    )


def _registered(version: Registration, withdrawn: Withdrawn) -> Mark | None:
    names = ("model_digest", "making", "encoder_digest", "snapshot_digest")
    return withdrawn.of_digests([version.tags.get(it, "") for it in names])


def _in_knot(knot: Knot, withdrawn: Withdrawn) -> Mark | None:
    if not withdrawn:
        return None
    try:
        found = withdrawn.in_folder(knot.output.path)
    except BlocksError:
        found = None  # the statement cannot be read, which is a fault of its own
    return found or withdrawn.of_digests(_digests(knot))


def _digests(knot: Knot) -> Iterator[str]:
    yield knot.output.digest
    for link in knot.links:
        if not link.compared:
            yield link.material.digest or ""
            yield link.material.making or ""


def _is_registered(archive: Archive) -> bool:
    return any(TAG in it.tags for it in registered(archive.folder))
