"""Targets of commands: a run, a registered model, or a folder, with the chain of each."""

from collections.abc import Iterable
from pathlib import Path

from tfhub_blocks.control.lineage.chain_evidence import (
    digests_of_model,
    evidence_about,
    evidence_of_digest,
)
from tfhub_blocks.control.lineage.chains import Chain, trace
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.local_registrations import (
    Registration,
    find_registration,
    registered,
)
from tfhub_blocks.control.lineage.recorded_output import Output, read_output
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.project.run_records import FOLDERS, RECORD_NAME, RunRecord, read_run
from tfhub_blocks.records.base.errors import BlocksError, nearest


def find_chain(text: str, archive: Archive, where: str) -> Chain:
    """Return the chain of a run, a registered model, or a path.

    A model is named NAME:VERSION, or NAME for the newest version.

    Raises:
        BlocksError: The text names no run, model or path, or the path carries no lineage.
    """
    found = find_target(text, archive, where)
    if isinstance(found, RunRecord):
        return _of_run(found, archive)
    if isinstance(found, Registration):
        return chain_of_model(found, archive)
    return _of_path(found, archive, where)


def chain_of_model(version: Registration, archive: Archive) -> Chain:
    """Return the chain of a registered model and of its evidence."""
    roots = [read_output(version.source)] if version.source.is_dir() else []
    registered_with = (version.tags.get(f"{kind}_digest", "") for kind in ("evidence", "latency"))
    proofs = [evidence_of_digest(archive, digest) for digest in registered_with if digest]
    about = list(evidence_about(archive, version.tags.get("model_digest", "")))
    roots += _beside(archive, [*about, *filter(None, proofs)])
    chain = trace(f"model {version}", archive, roots)
    chain.registration = version
    return chain


def find_target(text: str, archive: Archive, where: str) -> RunRecord | Registration | Path:
    """Return the run, the registered model, or else the path that a text names.

    Raises:
        BlocksError: The text names no run, no registered model and no path.
    """
    is_name = "/" not in text and text not in (".", "..")
    run = _run(text, archive, where) if is_name else _run_at(Path(text), where)
    if run is not None:
        return run
    version = find_registration(archive.folder, text, where) if is_name else None
    if version is not None:
        return version
    if Path(text).exists():
        return Path(text)
    known = [path.name for name in FOLDERS for path in archive.folder.glob(f"{name}/*")]
    models = [it.name for it in registered(archive.folder)]
    raise BlocksError(
        where,
        text,
        f"{text} is no run or registered model in {archive.folder}, and no path",
        "a run, a MODEL or MODEL:VERSION, or the folder of an output",
        nearest(text, [*known, *models])
        or f"Pass a run that `ls {archive.folder}/runs` lists, or another --runs-dir",
    )


def missing_outputs(chain: Chain, archive: Archive, verdict: Verdict) -> None:
    """Add a missing part for each recorded output of a run that no longer exists."""
    run = next((run for _, run in archive.runs if chain.title == f"run {run.run}"), None)
    for name, port, output in archive.of_run(run) if run else ():
        if output is None:
            path = run.steps[name].outputs[port] if run else ""
            verdict.gap("output", f"step {name}", port, "the output of the step", f"{path} is gone")


def _run(name: str, archive: Archive, where: str) -> RunRecord | None:
    for folder in FOLDERS:
        found = _run_at(archive.folder / folder / name, where)
        if found is not None:
            return found
    return None


def _run_at(folder: Path, where: str) -> RunRecord | None:
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        return read_run(path)
    except (OSError, ValueError, RecursionError) as error:
        raise BlocksError(
            where,
            str(path),
            f"the record of the run cannot be read: {error}",
            "a run.json that a run wrote",
            f"Delete {path.parent}, and run the pipeline again",
        ) from error


def _of_run(run: RunRecord, archive: Archive) -> Chain:
    outputs = [output for _, _, output in archive.of_run(run) if output]
    return trace(f"run {run.run}", archive, outputs)


def _of_path(path: Path, archive: Archive, where: str) -> Chain:
    path = path.absolute()
    output = archive.outputs.get((path.parent.name, path.name))
    if output is None or not output.path.samefile(path):
        output = read_output(path)
    if output.lineage is None and not output.problem and not output.key:
        raise BlocksError(
            where,
            str(path),
            "the folder has no lineage, and is not in the store",
            "the folder of a finished output",
            f"Pass an output of a finished run, such as one below {archive.folder}/store",
        )
    is_model = output.kind == "model"
    proofs = evidence_about(archive, *digests_of_model(output)) if is_model else ()
    return trace(f"{output.kind} {path}", archive, [output, *_beside(archive, proofs)])


def _beside(archive: Archive, proofs: Iterable[Output]) -> list[Output]:
    """Return evidence and the other outputs of its step, except models, which are others."""
    return [
        output
        for proof in proofs
        for output in (proof, *archive.beside(proof))
        if output.kind != "model"
    ]
