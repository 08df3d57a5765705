import json
import shutil
from pathlib import Path

import pytest

ALL_REUSED = {"left": True, "right": True, "joined": True}
NONE_REUSED = dict.fromkeys(ALL_REUSED, False)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_unchanged_steps_are_reused_and_give_the_same(project):
    first = project.run()
    assert first.reused() == NONE_REUSED
    again = project.run()
    assert again.reused() == ALL_REUSED
    assert set(again.states().values()) == {"Completed"}
    made = Path(again.record["outputs"]["joined"])
    assert made.read_text() == "hello a 1 True None|hello b 3 False None|"
    assert made.samefile(first.record["outputs"]["joined"])


def test_changed_parameter_reruns_only_what_depends_on_it(project):
    project.run()
    assert project.run("--set", "count=4").reused() == {**NONE_REUSED, "left": True}
    assert project.run("--set", "rate=0.9").reused() == ALL_REUSED
    assert project.run("--set", "maybe=0.5").reused() == {**NONE_REUSED, "right": True}


def test_same_value_written_otherwise_is_the_same(project):
    project.run("--set", "flag=true", "--set", "maybe=0.5", "--set", "count=3")
    again = project.run("--set", "flag=1", "--set", "maybe=.50", "--set", "count=03")
    assert again.reused() == ALL_REUSED


def test_changed_input_bytes_rerun(project):
    project.run()
    project.write("src/word", "hallo")
    assert project.run().reused() == NONE_REUSED
    project.write("src/word", "hello")
    assert project.run().reused() == ALL_REUSED


def test_moved_input_is_the_same_input(project):
    project.run()
    shutil.copytree("src", "elsewhere")
    assert project.run(source="elsewhere").reused() == ALL_REUSED


def test_same_output_of_changed_code_leaves_what_follows_alone(project):
    """Reuse goes by content, not by history."""
    project.run()
    project.effect("pass")
    assert project.run().reused() == {"left": False, "right": False, "joined": True}


def test_changed_component_reruns_its_steps(project):
    project.run()
    edit(project.folder / "components/join/component.py", "1/2 things", "2/2 things")
    assert project.run().reused() == {**ALL_REUSED, "joined": False}


def test_changed_library_module_reruns_the_steps_that_import_it(project, own_library):
    project.run()
    with (own_library / "records" / "base" / "lineage.py").open("a") as file:
        file.write("# edited\n")
    assert project.run().reused() == {"left": False, "right": False, "joined": True}


def test_changed_unrelated_module_reruns_nothing(project, own_library):
    project.run()
    for name in (
        "records/formats/evidence.py",
        "compute/registration/model_registry.py",
        "cli.py",
    ):
        with (own_library / name).open("a") as file:
            file.write("# edited\n")
    assert project.run().reused() == ALL_REUSED


def test_changed_environment_reruns(project, monkeypatch):
    project.run()
    monkeypatch.setattr(
        "tfhub_blocks.records.environment.installed_packages.installed_packages", dict
    )
    assert project.run().reused() == NONE_REUSED


def test_step_with_effects_is_never_reused(project):
    path = project.folder / "components/join/component.py"
    edit(path, 'tags={"role": "cpu"}', 'tags={"role": "cpu"}, is_deterministic=False')
    project.run()
    assert project.run().reused() == {**ALL_REUSED, "joined": False}


def test_no_reuse_runs_all_again(project):
    project.run()
    assert project.run("--no-reuse").reused() == NONE_REUSED
    assert project.run().reused() == ALL_REUSED


def test_damaged_output_is_noticed_and_made_again(project):
    first = project.run().record
    made = Path(first["steps"]["left"]["outputs"]["made"])
    (made / "f.txt").write_text("hello b")
    again = project.run()
    assert again.status == 0
    assert again.reused() == {**ALL_REUSED, "left": False}
    warning = f"{made} was changed after the step wrote it; the step runs again"
    assert again.record["steps"]["left"]["warnings"] == [warning]
    assert f"warning: left: {warning}" in again.err
    assert (made / "f.txt").read_text() == "hello a 1 True None|"


def test_failed_step_leaves_nothing_to_reuse(project):
    project.effect("raise SystemExit(3)")
    assert project.run().status == 1
    kept = [path.name for path in Path(".runs/store").iterdir() if not path.name.endswith(".lock")]
    assert kept == []


@pytest.mark.parametrize("end", ["raise SystemExit", "os._exit(0)"])
def test_step_that_ends_early_with_status_0_is_no_completed_step(end, project):
    project.effect(end)
    outcome = project.run()
    assert outcome.status == 1
    assert "complete" in outcome.record["steps"]["left"]["error"]
    assert not list(Path(".runs/store").glob("*/made"))


def test_run_json_is_what_json_prints(project):
    outcome = project.run()
    assert json.loads(Path(".runs/runs/latest/run.json").read_text()) == outcome.record
