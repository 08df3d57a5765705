"""The check of an output's bytes against its statement and the record of the store."""

from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.records.base.digests import file_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import content_sha256
from tfhub_blocks.records.base.lineage import STATEMENT_NAME


def check_content(output: Output, verdict: Verdict) -> None:
    """Read all of an output, and add faults for files that were edited, added, lost or swapped."""
    verdict.outputs += 1
    where = str(output.path)
    if output.problem:
        expected = "the file as its step wrote it"
        verdict.fault("statement", where, STATEMENT_NAME, expected, output.problem)
    if output.key and output.recorded is None:
        verdict.fault("store", where, "step.json", "the record of the step", "no readable record")
    try:
        if output.path.is_file():
            _check_file(output, verdict)
        else:
            _check_folder(output, verdict)
    except BlocksError as error:
        verdict.fault("file", where, error.what, error.expected, error.problem)
    except OSError as error:
        verdict.fault("file", where, "content", "files that can be read", str(error))


def _check_file(output: Output, verdict: Verdict) -> None:
    verdict.files += 1
    found = file_sha256(output.path)
    if output.recorded and found != output.recorded.content:
        verdict.fault(
            "file", output.path, "content", _sha(output.recorded.content), f"{_sha(found)}: edited"
        )


def _check_folder(output: Output, verdict: Verdict) -> None:
    files = content_sha256(output.path)
    verdict.files += len(files)
    whole = tree_digest(files)
    files.pop(STATEMENT_NAME, None)
    content = tree_digest(files)
    stated = output.lineage.files if output.lineage else files
    for name in sorted(files.keys() | stated.keys()):
        expected, found = stated.get(name), files.get(name)
        if expected != found:
            verdict.fault(
                "file",
                output.path,
                name,
                _sha(expected) if expected else "no such file",
                f"{_sha(found)}: {'edited' if expected else 'added'}" if found else "missing",
            )
    if output.recorded is None:
        return
    if files == stated and content != output.recorded.content:
        expected = f"the content that was stored, {output.recorded.content}"
        verdict.fault("swap", output.path, "content", expected, f"another folder, {content}")
    elif content == output.recorded.content and whole != output.recorded.whole:
        verdict.fault(
            "statement",
            output.path,
            STATEMENT_NAME,
            "the statement that was stored",
            "a statement that was edited later, while the files were not",
        )


def _sha(digest: str) -> str:
    return f"sha256 {digest}"
