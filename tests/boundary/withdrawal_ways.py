"""Ways by withdrawals: using what was withdrawn, and hiding the statement about it."""

from dataclasses import replace
from pathlib import Path

from lock_ways import read, reseal
from release_project import commit
from toy_project import ToyProject
from ways import surface

from tfhub_blocks.records.formats.releases import LockedEvidence
from tfhub_blocks.records.formats.withdrawals import VARIABLE, Withdrawal
from tfhub_blocks.records.formats.withdrawn import Withdrawn

way = surface("Withdrawals", "release")
register = surface("Withdrawals", "model")
FOLDER = Path("pipelines/withdrawals")
WORDS = Withdrawal(
    "data", "words:1", (), (), "Its owner asked", ("ada",), "2026-01-02T03:04:05.000Z"
)


def write(project: ToyProject, statement: Withdrawal = WORDS) -> Path:
    project.write(str(FOLDER / statement.file_name), statement.as_text())
    return project.folder / FOLDER / statement.file_name


def withdrawn(project, statement=WORDS):
    path = write(project, statement)
    commit(project)
    return path


@way("submit a release of data that was withdrawn")
def withdrawn_data(project):
    data = read(project).data["source"]
    withdrawn(project, replace(WORDS, name=f"{data.name}:{data.version}"))


@way("submit a release of data whose content was withdrawn under another name")
def withdrawn_content(project):
    digest = read(project).data["source"].digest
    withdrawn(project, replace(WORDS, kind="output", name="x", digests=(digest,)))


@way("submit a release whose evidence is of a model that was built from something withdrawn")
def withdrawn_evidence(project):
    reseal(project, evidence=LockedEvidence("7" * 64, "8" * 64, True))
    withdrawn(project, replace(WORDS, affected=("7" * 64,)))


@way("delete the statement, and commit that")
def withdrawn_deleted(project):
    withdrawn(project).unlink()
    commit(project)


@way("end it by the edit of its statement, and commit that")
def withdrawn_edited(project):
    path = withdrawn(project)
    path.write_text(path.read_text().replace('"restores": ""', f'"restores": "{WORDS.digest}"'))
    commit(project)


@way("end another withdrawal, which does not exist")
def withdrawn_restored_other(project):
    withdrawn(project)
    withdrawn(project, replace(WORDS, restores="5" * 64))


@way("put another file among the statements")
def withdrawn_other_file(project):
    write(project).with_name("note.txt").write_text("words:1 may be used")
    commit(project)


@way("end it by a statement that is not committed")
def withdrawn_uncommitted_end(project):
    withdrawn(project)
    write(project, replace(WORDS, restores=WORDS.digest))


@register("register a model whose encoder was withdrawn")
def withdrawn_encoder(stand):
    from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

    digest = read_pin(stand.model / PIN_NAME).digest
    encoder = replace(WORDS, kind="encoder", name="e", digests=(digest,))
    stand.variables[VARIABLE] = Withdrawn.for_steps([encoder]).as_text("")


@register("register a model whose encoder has a licence that was withdrawn")
def withdrawn_licence(stand):
    from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

    licence = replace(WORDS, kind="licence", name=read_pin(stand.model / PIN_NAME).licence.upper())
    stand.variables[VARIABLE] = Withdrawn.for_steps([licence]).as_text("")


@register("make the withdrawals that a step gets unreadable")
def withdrawn_unreadable(stand):
    stand.variables[VARIABLE] = "digest"
