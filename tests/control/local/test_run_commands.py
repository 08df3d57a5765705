"""The commands about runs: list, show, logs, compare, tag and gc."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tfhub_blocks.control.project.run_records import held_run, read_run

RUNS = Path(".runs/runs")


def test_runs_are_listed_compared_tagged_and_deleted(project):
    first = project.run().record["run"]
    second = project.run("--set", "count=4").record["run"]
    listed = project.main("runs", anew=False).out
    assert [line.split()[0] for line in listed.splitlines()] == ["RUN", second, first]
    assert "count=4" in listed.splitlines()[1]
    assert "src" not in listed  # the same for both

    logs = project.main("logs", second, "right", anew=False).out
    assert logs
    assert {line.split()[0] for line in logs.splitlines()} == {"right"}
    wrong = project.main("logs", second, "rigth", anew=False)
    assert (wrong.status, "Did you mean 'right'?" in wrong.err) == (2, True)

    told = project.main("compare", first, second, anew=False)
    assert told.status == 0  # the toy measures nothing
    lines = [line.split() for line in told.out.splitlines()]
    assert ["differs", "input", "count", "-", "4"] in lines
    assert [line[:3] for line in lines if line[1] == "output"] == [["differs", "output", "joined"]]
    unknown = project.main("compare", first, f"{second}0", anew=False)
    assert (unknown.status, f"Did you mean '{second}'?" in unknown.err) == (2, True)

    assert project.main("runs", "tag", second, "best=yes", "old=1", anew=False).status == 0
    tagged = project.main("runs", "tag", second, "old=", "--json", anew=False)
    assert json.loads(tagged.out) == {"best": "yes"}
    [only] = json.loads(project.main("runs", "--tag", "best=yes", "--json", anew=False).out)
    assert (only["run"], only["tags"]) == (second, {"best": "yes"})
    assert "[best=yes]" in project.main("runs", "--status", "completed", anew=False).out
    assert "No run" in project.main("runs", "--pipeline", "other", anew=False).out

    assert "nothing to delete" in project.main("runs", "gc", anew=False).out
    found = json.loads(
        project.main("runs", "gc", "--before", "2999-01-01", "--json", anew=False).out
    )
    # The tagged run stays, and with it the left step that both share.
    assert (found["runs"], len(found["outputs"])) == ([first], 2)
    kept = read_run(RUNS / second / "run.json")
    with held_run(RUNS / second):
        replace(kept, status="Running").write()
        refused = project.main("runs", "gc", "--delete", anew=False)
    assert (refused.status, "goes on, and uses outputs" in refused.err) == (2, True)
    kept.write()
    told = project.main("runs", "gc", "--before", "2999-01-01", "--delete", anew=False)
    assert "1 runs and 2 outputs deleted" in told.out
    assert not (RUNS / first).exists()
    again = project.run("--set", "count=4")
    assert set(again.reused().values()) == {True}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("runs", "--last", "0"), "--last 0 is too small"),
        (("runs", "tag", "nothing", "a=b"), "no run in .runs is called 'nothing'"),
        (("runs", "gc", "--before", "soon"), "'soon' is not a day"),
        (("runs", "--tag", "best"), "--tag best"),
    ],
)
def test_wrong_requests_are_refused(project, words, message):
    outcome = project.main(*words, anew=False)
    assert (outcome.status, message in outcome.err) == (2, True)


def test_runs_of_a_grid_differ_by_what_differs(project):
    made = project.run().record
    for number in range(6):
        name = f"toy-20300101T00000{number}Z"
        (RUNS / name).mkdir()
        record = read_run(Path(made["folder"]) / "run.json")
        inputs = record.inputs | {"count": str(number), "text": "ab"[number % 2]}
        metrics = {"loss": 0.1, "accuracy": number / 10}
        started = f"2030-01-01T00:00:0{number}+00:00"
        replace(
            record,
            run=name,
            folder=str(RUNS / name),
            inputs=inputs,
            metrics=metrics,
            started=started,
        ).write()
    lines = project.main("runs", "--last", "6", anew=False).out.splitlines()
    assert lines[1].endswith("accuracy 0.5  count=5 text=b")
    assert len({line.split("accuracy")[1] for line in lines[1:7]}) == 6
    assert "older runs: pass --last 7" in lines[7]


def test_name_of_a_run_and_a_pipeline_is_said_to_be_both(project):
    made = Path(project.run().record["folder"])
    shutil.copytree(made, RUNS / "toy", symlinks=True)
    shown = project.main("show", "toy")
    assert "toy is a pipeline and a run: this is the pipeline" in shown.err
    assert "Steps" in shown.out


def test_nothing_that_a_registered_model_needs_is_deleted(chain):
    before = verified(chain)
    words = ("runs", "gc", "--before", "2999-01-01")
    listed = chain.main(*words)
    assert listed.status == 0, listed.err
    assert chain.main(*words, "--delete").status == 0
    assert verified(chain) == before


def verified(chain):
    outcome = chain.main("verify", "toy:2", "--partial")
    return outcome.status, outcome.out
