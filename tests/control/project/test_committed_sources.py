"""Production's commands read and run the commit: each of them, whatever the working folder says."""

import importlib
import sys
from importlib.util import cache_from_source

import pytest
from release_project import STRICT, commit, edit, git, lock_file, write_release_project

from tfhub_blocks.control.project.committed_sources import production_sources
from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.releases.release_names import find_lock
from tfhub_blocks.control.repository.catalog import load_pipeline, pipeline_files
from tfhub_blocks.records.base.project_folders import project_folder

PROFILE, PIPELINE = "pipelines/profiles/strict.toml", "pipelines/judged.py"
STEP = "components/make/component.py"
SET = ("--set", "source=src", "--set", "owner=us")
SCHEDULE = """
format_version = 1
pipeline = "judged"
profile = "strict"
cron = "0 3 * * *"
time_zone = "UTC"
"""


@pytest.fixture
def release(project, monkeypatch):
    """A repository with a release, and a file that edited code would write."""
    project.write(PROFILE, STRICT)
    project.write("pipelines/schedules/nightly.toml", SCHEDULE)
    write_release_project(project)
    assert project.main("lock", "judged", *SET, "--name", "first").status == 0
    commit(project)
    names = ("subscription_id", "resource_group", "workspace_name")
    text = "{" + ", ".join(f'"{name}": "x"' for name in names) + "}"
    project.write("config.json", text)
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return project


def mark(project, name):
    """Let a file of the working folder leave a mark when it is run."""
    marker = project.folder.parent / "ran"
    text = project.read(name).partition('"""\n')
    line = f"open({str(marker)!r}, 'w').write('ran')\n"
    project.write(name, f"{text[0]}{text[1]}{line}{text[2]}")
    return marker


def mark_every_file(project):
    """Let all code of the working folder leave a mark, where git is told to overlook it, too."""
    for name in (PIPELINE, "pipelines/toy.py", STEP, "components/judge/component.py"):
        marker = mark(project, name)
    git(project, "update-index", "--assume-unchanged", PIPELINE)
    edit(project, PROFILE, 'takes = "locks"\n', "")
    return marker


COMMANDS = {
    "lock": ("lock", "judged", *SET, "--name", "second"),
    "submit": ("submit", "first", "--profile", "strict"),
    "submit a pipeline": ("submit", "judged", "--profile", "strict", *SET),
    "schedule apply": ("schedule", "apply"),
    "publish": ("publish", "--profile", "strict"),
    "publish files": ("publish", "--profile", "strict", "--files", "../files"),
    "deploy batch": ("deploy", "batch", "first", "--profile", "strict", "--until", "2099-01-01"),
    "deploy online": ("deploy", "online", "toys:1", "--profile", "strict", "--until", "2099-01-01"),
    "promote": ("promote", "toys:1", "--to", "strict", "--reason", "x"),
    "reproduce": ("reproduce", "toys:1", "--profile", "strict"),
    "check": ("check", "judged", "--profile", "strict"),
    "check all": ("check", "--all", "--profile", "strict"),
    "check a release": ("check", "first", "--profile", "strict"),
    "cost": ("cost", "judged", "--profile", "strict", *SET),
    "cost of a release": ("cost", "first", "--profile", "strict"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=list(COMMANDS))
def test_command_runs_no_code_of_the_working_folder(release, words):
    marker = mark_every_file(release)
    outcome = release.main(*words)
    assert not marker.exists()
    assert "Traceback" not in outcome.err
    assert "tfhub-blocks-commit-" not in outcome.out + outcome.err


def test_the_same_edit_runs_under_a_profile_that_takes_pipelines(release):
    marker = mark_every_file(release)
    release.main("run", "judged", *SET)
    assert marker.exists()


def test_check_and_cost_report_the_commit_and_name_the_changes(release):
    commands = COMMANDS["check a release"], COMMANDS["cost of a release"]
    before = [release.main(*words) for words in commands]
    edit(release, PIPELINE, "flag=True", "flag=True, unknown=3")
    edit(release, PROFILE, "Standard_DS3_v2", "Standard_Unknown")
    for words, first in zip(commands, before, strict=True):
        outcome = release.main(*words)
        assert (outcome.status, outcome.out) == (first.status, first.out)
        head = git(release, "rev-parse", "HEAD")[:12]
        note = f"note: commit {head} is used, without the changes in {PIPELINE}, {PROFILE}\n"
        assert outcome.err == note + first.err


def test_profile_that_takes_locks_in_the_commit_alone_counts(release):
    edit(release, PROFILE, 'takes = "locks"\n', "")
    with production_sources("submit", ["strict"], note=False) as taken:
        assert taken
        assert read_profile("strict").takes == "locks"


def test_profile_that_takes_locks_in_the_folder_alone_counts(release):
    release.write("pipelines/profiles/new.toml", STRICT)
    with production_sources("submit", ["new"], note=False) as taken:
        assert taken
        assert find_lock("first") == project_folder() / lock_file()
    with production_sources("submit", ["local"]) as taken:
        assert not taken


def plant(project, name, text):
    """Bytecode beside a source, which Python takes without comparing the two."""
    source = project.folder / name
    code = compile(text, str(source), "exec", dont_inherit=True)
    external = importlib._bootstrap_external
    path = project.folder / cache_from_source(str(source))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(external._code_to_hash_pyc(code, b"\0" * 8, False))
    return path


@pytest.mark.parametrize("name", [PIPELINE, STEP, "helper.py", "pipelines/near.py"])
@pytest.mark.parametrize("is_committed", [False, True])
def test_bytecode_is_neither_read_nor_written(release, monkeypatch, name, is_committed):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    release.write("helper.py", "x = 1\n")
    release.write("pipelines/near.py", "x = 1\n")
    edit(release, PIPELINE, "from azure", "import helper, near\nfrom azure")
    commit(release)
    marker = release.folder.parent / "ran"
    path = plant(release, name, f"open({str(marker)!r}, 'w')\n{release.read(name)}")
    if is_committed:
        git(release, "add", "--force", str(path))
        git(release, "commit", "-q", "-m", "x")
    before = {it: it.read_bytes() for it in release.folder.rglob("*.pyc")}
    assert list(before) == [path]
    for words in (COMMANDS["check"], ("run", "judged", *SET), ("check", "judged")):
        assert "ModuleNotFound" not in release.main(*words).err
    folders = [release.folder / it for it in (".", "components", "pipelines", "components/make")]
    found = [it for folder in folders for it in folder.glob("__pycache__/*")]
    assert {it: it.read_bytes() for it in found} == before
    assert not marker.exists()


def test_module_that_is_bytecode_alone_is_no_module(release):
    release.write("helper.py", "x = 1\n")
    path = plant(release, "helper.py", "x = 1\n")
    path.rename(release.folder / "helper.pyc")
    (release.folder / "helper.py").unlink()
    edit(release, PIPELINE, "from azure", "import helper\nfrom azure")
    git(release, "add", "--force", "--all", ".")
    git(release, "commit", "-q", "-m", "x")
    outcome = release.main(*COMMANDS["lock"])
    assert outcome.status == 2
    assert "line 3 imports helper, which is neither in the commit" in outcome.err


def test_module_of_the_working_folder_or_the_import_path_is_not_imported(release, monkeypatch):
    edit(release, PIPELINE, "from azure", "import helper\nfrom azure")
    commit(release)
    release.write("../more/helper.py", "x = 1\n")
    monkeypatch.syspath_prepend(str(release.folder.parent / "more"))
    release.write(".git/info/exclude", "helper.py\n")
    release.write("helper.py", "x = 1\n")
    outcome = release.main(*COMMANDS["lock"])
    assert outcome.status == 2
    assert f"[lock > {PIPELINE}] line 3 imports helper" in outcome.err


def test_import_path_and_modules_are_as_before_after_a_command(release):
    before = list(sys.path)
    with production_sources("lock", [], always=True):
        load_pipeline("judged")
        file = sys.modules["pipelines.judged"].__file__
        assert file == str(project_folder() / PIPELINE)
        assert str(release.folder) not in sys.path
    assert sys.path == before
    assert "pipelines.judged" not in sys.modules
    assert pipeline_files()["judged"].path == release.folder / PIPELINE


def test_repository_of_tfhub_blocks_itself_is_taken_with_its_links(release, monkeypatch):
    """The layout of this repository: tfhub_blocks/components is a link to ../components."""
    from shutil import copytree, ignore_patterns

    from toy_project import ROOT

    import tfhub_blocks

    unused = ignore_patterns("__pycache__", "components", "pipelines")
    copytree(ROOT / "tfhub_blocks", release.folder / "tfhub_blocks", ignore=unused)
    for name in ("components", "pipelines"):
        copytree(ROOT / name, release.folder / name, ignore=unused, dirs_exist_ok=True)
        (release.folder / "tfhub_blocks" / name).symlink_to(f"../{name}")
    commit(release)
    package = release.folder / "tfhub_blocks"
    monkeypatch.setattr(tfhub_blocks, "__file__", str(package / "__init__.py"))
    with production_sources("lock", [], always=True):
        from tfhub_blocks.records.base.project_folders import package_folder

        assert package_folder() == project_folder() / "tfhub_blocks"
        load_pipeline("transfer_learning")
        module = sys.modules["tfhub_blocks.pipelines.transfer_learning"]
        assert str(module.__file__).startswith(str(project_folder()))
        step = sys.modules["tfhub_blocks.components.snapshot_data.component"]
        assert str(step.__file__).startswith(str(project_folder()))
    assert release.main("lock", "judged", *SET, "--name", "second").status == 0
