"""The withdrawal of something: the search for its digests, and the statement about it."""

# decision 65

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tfhub_blocks.control.lineage.chain_evidence import encoder_digest, snapshot_digest
from tfhub_blocks.control.lineage.local_registrations import (
    Registration,
    find_registration,
    registered,
    set_tag,
)
from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.lineage.uses import Uses, data_version_of, find_uses, licence_of
from tfhub_blocks.control.project.withdrawal_files import keep_withdrawal, read_withdrawals
from tfhub_blocks.control.repository.people import local_names
from tfhub_blocks.records.base.digests import file_sha256
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.redaction import has_secret
from tfhub_blocks.records.formats.withdrawals import TAG, Withdrawal, in_force
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

WHERE = "withdraw"
_LONGEST_REASON = 200
_DIGEST = re.compile(r"[0-9a-f]{64}")
# The kinds of outputs that have other names than their statement, such as versions of assets.
_CONTENTS = frozenset({"model", "pyfunc", "encoder", "snapshot"})
_FORMS = (
    "MODEL:VERSION, an encoder, a snapshot, an item, azureml:NAME:VERSION, licence:NAME, a folder"
    " of an output, or a digest"
)


@dataclass(frozen=True)
class Subject:
    """Something that can be withdrawn: kind, name, digests, and the local outputs built from it."""

    kind: str
    name: str
    digests: tuple[str, ...]
    uses: Uses


def find_subject(text: str, archive: Archive) -> Subject:
    """Find what a text names, and everything local that was built from it.

    Raises:
        BlocksError: The text names nothing, or a run.
    """
    if any(run.run == text for _, run in archive.runs):
        raise BlocksError(
            WHERE,
            text,
            f"{text} is a run, which has several outputs",
            _FORMS,
            f"Pass the model or the folder of one output; `tfhub-blocks lineage {text}` lists them",
        )
    if licence := licence_of(text):
        uses = _uses(text, archive)
        return Subject("licence", licence, (), uses)
    if version := data_version_of(text):
        uses = _uses(text, archive)
        return Subject("data", ":".join(version), _of_outputs(uses.starts), uses)
    if (Path(text) / PIN_NAME).is_file():
        pin = read_pin(Path(text) / PIN_NAME)
        return Subject("encoder", pin.name, (pin.digest,), _uses(pin.digest, archive))
    uses = _uses(text, archive, is_open=bool(_DIGEST.fullmatch(text)))
    if uses.held or uses.rejected or uses.scored:
        return _item(text, uses)
    if not uses.starts:  # a digest that is not known locally
        return Subject("output", text, (text,), uses)
    model = find_registration(archive.folder, text, WHERE) if "/" not in text else None
    kind = uses.starts[0].kind
    if model:
        return Subject("model", str(model), _of_outputs(uses.starts), uses)
    if kind == "encoder":
        return Subject(kind, _encoder_name(uses.starts[0]), _of_outputs(uses.starts), uses)
    digest = uses.starts[0].digest
    return Subject(
        kind if kind in ("model", "snapshot") else "output",
        f"{kind} {digest[:12]}",
        _of_outputs(uses.starts),
        uses,
    )


def _uses(text: str, archive: Archive, is_open: bool = True) -> Uses:
    """Return the uses of something; without any if nothing local is known and that may be so."""
    try:
        return find_uses(text, archive)
    except BlocksError as error:
        if not is_open:
            known = [it.name for it in registered(archive.folder)]
            raise BlocksError(
                WHERE, text, error.problem, _FORMS, nearest(text, known) or error.remedy
            ) from error
        return Uses(f"outputs built from {text}")


def _item(text: str, uses: Uses) -> Subject:
    found_ids = [held.item for held in uses.held] + [row.item or "" for row in uses.scored]
    ids = sorted({*found_ids} - {""})
    if not ids and Path(text).is_file():
        ids = [file_sha256(Path(text))]
    if len(ids) != 1:
        found = f"{text} names {len(ids)} items" if ids else f"{text} was rejected by each snapshot"
        raise BlocksError(
            WHERE,
            text,
            found,
            "one item",
            "Pass the id of one item: " + ", ".join(ids[:3]) if ids else "Delete it in its source",
        )
    # The path is not recorded, since it may name a person.
    return Subject("item", ids[0], _of_outputs([held.snapshot for held in uses.held]), uses)


def _of_outputs(outputs: Iterable[Output]) -> tuple[str, ...]:
    """Return the digests by which later outputs name some outputs."""
    return tuple(
        sorted(
            {
                digest
                for output in outputs
                for digest in (output.digest, encoder_digest(output), snapshot_digest(output))
                if digest
            }
        )
    )


def _built(uses: Uses) -> set[str]:
    """Return the digests of how each output was made, and of the content of models and data.

    A report may have the content of another model's report, so content alone does not count.
    """
    found = {it.lineage.making for it in uses.reached.values() if it.lineage}
    return found | set(_of_outputs(it for it in uses.reached.values() if it.kind in _CONTENTS))


def _encoder_name(output: Output) -> str:
    return read_pin(output.path / PIN_NAME).name


def withdraw(subject: Subject, reason: str, archive: Archive) -> tuple[Withdrawal, Path]:
    """Write the withdrawal of something into the project, and tag the local models it affects.

    The same withdrawal is written once.

    Raises:
        BlocksError: The reason is not one line, or nobody is known who decides.
    """
    text = check_reason(reason)
    present = _present(subject)
    if present:
        return present, keep_withdrawal(present)
    found = Withdrawal(
        kind=subject.kind,
        name=subject.name,
        digests=subject.digests,
        affected=tuple(sorted(_built(subject.uses) - set(subject.digests))),
        reason=text,
        deciders=_deciders(),
        decided=_now(),
    )
    path = keep_withdrawal(found)
    for version in affected_versions(subject):
        set_tag(archive.folder, version, TAG, found.digest)
    return found, path


def restore(subject: Subject, reason: str) -> list[tuple[Withdrawal, Path]]:
    """Write a statement that ends each withdrawal in force of something.

    Raises:
        BlocksError: It is not withdrawn, or the reason is not one line.
    """
    text = check_reason(reason)
    found = [it for it in in_force(read_withdrawals(WHERE)) if _is_about(it, subject)]
    if not found:
        raise BlocksError(
            WHERE,
            subject.name,
            f"{subject.kind} {subject.name} is not withdrawn",
            "",
            "Run `ls pipelines/withdrawals` to see all withdrawals",
        )
    written = []
    for it in found:
        end = replace(
            it,
            affected=(),
            reason=text,
            deciders=_deciders(),
            decided=_now(),
            restores=it.digest,
        )
        written.append((end, keep_withdrawal(end)))
    return written


def _is_about(it: Withdrawal, subject: Subject) -> bool:
    return (it.kind, it.name) == (subject.kind, subject.name)


def _present(subject: Subject) -> Withdrawal | None:
    """Return the withdrawal in force that covers something completely, or None."""
    needed = {*subject.digests, *_built(subject.uses)}
    about = (it for it in in_force(read_withdrawals(WHERE)) if _is_about(it, subject))
    return next((it for it in about if needed <= {*it.digests, *it.affected}), None)


def affected_versions(subject: Subject) -> list[Registration]:
    """Return the registered models that were built from something, or measured on it."""
    return [*subject.uses.retrain, *subject.uses.measured]


def check_reason(reason: str) -> str:
    """Return a reason without the white space around it.

    Raises:
        BlocksError: The reason is empty, has several lines, is too long, or contains a credential.
    """
    text = reason.strip()
    problem = ""
    if not text:
        problem = "the reason is empty"
    elif len(text) > _LONGEST_REASON:
        problem = f"the reason has {len(text)} characters"
    elif not text.isprintable():
        problem = "the reason has several lines or control characters"
    elif has_secret(text):
        problem = "the reason contains a credential"
    if problem:
        raise BlocksError(
            WHERE,
            "--reason",
            problem,
            f"one line of at most {_LONGEST_REASON} characters",
            "Pass --reason with why it must not be used; whoever is refused reads it",
        )
    return text


def _deciders() -> tuple[str, ...]:
    names = local_names()
    if not names:
        raise BlocksError(
            WHERE,
            "git",
            "neither the login nor git names who withdraws",
            "a name that others can ask",
            "Run `git config user.email` with your address",
        )
    return names


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
