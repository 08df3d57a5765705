"""What a run does when all goes well and when it does not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow
import psutil
import pytest
from toy_project import PATIENCE_S, ROOT, is_alive, wait_for

from tfhub_blocks.control.local import step_process

SLEEP = """
(Path(source).parent / f"started-{os.getpid()}").touch()
child = subprocess.Popen(["sleep", "600"])
(Path(source).parent / f"child-{child.pid}").touch()
time.sleep(600)
"""


# Begins an MLflow run and waits, unless it is let through.
TRACKED = """
import mlflow
if not (Path(source).parent / "go").exists():
    mlflow.start_run()
    (Path(source).parent / f"tracking-{os.getpid()}").touch()
    time.sleep(600)
"""

# Longer than a test may take, so that who waits for it is found out.
ENDLESS_S = 3600.0


def numbers(project, count):
    """The numbers of the processes of steps, and of what they started, if so many have begun."""
    paths = [*project.folder.glob("started-*"), *project.folder.glob("child-*")]
    return len(paths) == 2 * count and [int(path.name.partition("-")[2]) for path in paths]


def started(project, count):
    """The numbers of the processes of steps, and of what they started, once so many have begun."""
    return wait_for(lambda: numbers(project, count))


def run_record(project):
    [path] = [
        path for path in project.folder.glob(".runs/runs/*/run.json") if "latest" not in str(path)
    ]
    return json.loads(path.read_text())


def test_summary_tells_what_a_program_needs(project):
    project.write("components/join/component.py", METRICS)
    record = project.run().record
    assert record["status"] == "Completed"
    assert record["pipeline"] == "toy"
    assert record["profile"] == "local"
    assert record["metrics"] == {"accuracy": 0.9, "f1": 0.8}
    for step in record["steps"].values():
        assert step["status"] == "Completed"
        assert step["seconds"] > 0
        assert step["reused"] is False
        assert step["exit_status"] == 0
        assert all(Path(path).exists() for path in step["outputs"].values())
    assert Path(record["outputs"]["joined"]).is_dir()
    assert Path(".runs/runs/latest").resolve() == Path(record["folder"])


METRICS = '''"""join: metrics."""
import json
from pathlib import Path
from mldesigner import Input, Output, command_component

@command_component(version="1.0.0", environment="azureml:x:1")
def join(
    left: Input(type="uri_folder"), right: Input(type="uri_folder"),
    joined: Output(type="uri_folder"),
):
    """Doc."""
    metrics = {"accuracy": 0.9, "f1": {"value": 0.8, "low": 0.7}, "note": "x"}
    (Path(joined) / "metrics.json").write_text(json.dumps(metrics))
'''


def test_metrics_file_of_another_make_ends_no_run(project):
    text = METRICS.replace("json.dumps(metrics)", "'[1]'")
    project.write("components/join/component.py", text)
    outcome = project.run()
    assert outcome.status == 0
    assert outcome.record["metrics"] == {}


def test_progress_and_warnings_reach_the_record(project):
    outcome = project.run()
    assert outcome.record["steps"]["joined"]["warnings"] == ["a toy"]
    assert "warning: joined: a toy" in outcome.err
    again = project.run()
    assert again.reused()["joined"]
    assert again.record["steps"]["joined"]["warnings"] == ["a toy"]
    assert "warning: joined: a toy" in again.err


def test_independent_steps_run_side_by_side(project):
    project.effect(
        "places = Path(source).parent\n(places / f'here-{os.getpid()}').touch()\n"
        f"limit = time.time() + {PATIENCE_S}\n"
        "while len(list(places.glob('here-*'))) < 2:\n"
        "    assert time.time() < limit, 'the other does not come'\n    time.sleep(0.02)"
    )
    assert project.run().status == 0


def test_no_more_steps_run_side_by_side_than_the_profile_says(project):
    project.limit(parallel=1)
    project.effect(
        "places = Path(source).parent\nassert not list(places.glob('here-*'))\n"
        "(places / f'here-{os.getpid()}').touch()\ntime.sleep(0.5)\n"
        "(places / f'here-{os.getpid()}').unlink()"
    )
    assert project.run("--profile", "limited").status == 0


def test_failure_stops_what_follows_and_tells_where_to_look(project, golden):
    project.effect('if text == "b":\n    raise RuntimeError("something gave way")')
    outcome = project.run()
    assert outcome.status == 1
    assert outcome.states() == {"left": "Completed", "right": "Failed", "joined": "NotStarted"}
    right = outcome.record["steps"]["right"]
    assert right["error"] == (
        "[make > RuntimeError] an unforeseen error ended the program: something gave way. Read the "
        "traceback in the step's log; report it if the request and its data are right."
    )
    assert "RuntimeError: something gave way" in Path(right["log"]).read_text()
    assert "  | RuntimeError: something gave way\n" in outcome.err
    log = Path(right["log"])
    assert f"  log: {log.relative_to(project.folder)}\n" in outcome.err
    assert outcome.record["status"] == "Failed"


def test_what_runs_when_a_step_fails_ends_in_its_own_time_and_is_kept(project):
    project.effect('if text == "b":\n    raise RuntimeError\ntime.sleep(1)')
    assert project.run().states()["left"] == "Completed"
    assert project.run().reused()["left"] is True


def test_step_that_waits_for_a_place_does_not_start_after_a_failure(project):
    project.limit(parallel=1)
    project.effect("raise RuntimeError")
    outcome = project.run("--profile", "limited")
    assert sorted(outcome.states().values()) == ["Failed", "NotStarted", "NotStarted"]


def test_mistake_that_a_step_tells_is_the_error_of_the_run(project):
    project.effect(
        "from tfhub_blocks.records.base.errors import BlocksError\n"
        'raise BlocksError("make", "x", "x is bad", "good", "Pass y")'
    )
    outcome = project.run()
    told = "[make > x] x is bad. Expected good. Pass y."
    assert outcome.record["steps"]["left"]["error"] == told
    assert f"error: step left (make): {told}" in outcome.err
    assert "Traceback" not in outcome.err


def test_step_killed_by_a_signal_is_told_so(project):
    project.effect("os.kill(os.getpid(), signal.SIGKILL)")
    assert project.run().record["steps"]["left"]["error"] == "signal SIGKILL ended the step"


def test_output_that_was_not_written_is_a_failure(project):
    path = project.folder / "components/join/component.py"
    path.write_text(path.read_text().replace("Path(joined).write_text", "str"))
    outcome = project.run()
    assert outcome.status == 1
    assert outcome.record["steps"]["joined"]["error"] == (
        "[joined > joined] the step did not write output joined. Expected a uri_file. Change the "
        "step's component.py, so that the step writes joined before it ends with status 0."
    )


def test_time_limit_ends_the_step_and_all_that_it_started(project, monkeypatch):
    limits = []

    class Limit(threading.Thread):
        """A timer whose time is over once both steps have begun."""

        def __init__(self, seconds, function):
            super().__init__(daemon=True)
            self.function, self.cancel = function, lambda: None
            limits.append(seconds)

        def run(self):
            started(project, 2)
            self.function()

    timed = SimpleNamespace(Thread=threading.Thread, Timer=Limit)
    monkeypatch.setattr(step_process, "threading", timed)
    monkeypatch.setattr(step_process, "GRACE_S", 1.0)
    project.limit(timeout_s=4)
    # It takes being asked to end for a reason to end well, and its child does not listen at all.
    project.effect(
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
        'subprocess.Popen(["sh", "-c", "trap : TERM; sleep 600; sleep 600"])' + SLEEP
    )
    outcome = project.run("--profile", "limited")
    assert limits == [4, 4]
    assert outcome.status == 1
    assert outcome.record["steps"]["left"]["error"] == (
        "the step exceeded its limit of 4 s and was stopped"
    )
    assert not any(is_alive(number) for number in started(project, 2))


def test_what_a_step_leaves_behind_does_not_outlive_it_and_is_not_waited_for(project, monkeypatch):
    monkeypatch.setattr(step_process, "GRACE_S", ENDLESS_S)
    project.effect(
        'child = subprocess.Popen(["sleep", "600"])\n'
        '(Path(source).parent / f"started-{child.pid}").touch()\n'
        '(Path(source).parent / f"child-{child.pid}").touch()'
    )
    assert project.run().status == 0
    assert not any(is_alive(number) for number in started(project, 2))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_interrupt_ends_the_whole_process_groups(number, project):
    project.effect(SLEEP)
    process = project.start("run", "toy", "--set", "source=src", "--json")
    numbers = started(project, 2)
    process.send_signal(number)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    record = json.loads(out)
    assert record["status"] == "Canceled"
    states = [step["status"] for step in record["steps"].values()]
    assert states == ["Canceled", "Canceled", "NotStarted"]
    assert not any(step["error"] for step in record["steps"].values())
    assert run_record(project) == record
    assert not any(is_alive(number) for number in numbers)
    assert not list(project.folder.glob(".runs/store/*.attempt-*"))


@pytest.mark.slow
def test_second_interrupt_does_not_wait_for_a_step_that_does_not_listen(project):
    project.effect(
        "asked = Path(source).parent / f'asked-{os.getpid()}'\n"
        "signal.signal(signal.SIGTERM, lambda *_: asked.touch())" + SLEEP
    )
    script = (
        "import sys\nfrom tfhub_blocks import cli\n"
        "from tfhub_blocks.control.local import step_process as it\n"
        f"it.GRACE_S = {ENDLESS_S}\nsys.exit(cli.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "run", "toy", "--set", "source=src"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    numbers = started(project, 2)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: len(list(project.folder.glob("asked-*"))) == 2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    assert not any(is_alive(number) for number in numbers)


def test_killed_engine_leaves_nothing_half_written_to_be_taken(project):
    waits = 'if not (Path(source).parent / "go").exists():'
    project.effect(waits + SLEEP.replace("\n", "\n    "))
    process = project.start("run", "toy", "--set", "source=src")
    numbers = started(project, 2)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    steps = [int(path.name.partition("-")[2]) for path in project.folder.glob("started-*")]
    wait_for(lambda: not any(is_alive(number) for number in steps))
    for number in numbers:
        if is_alive(number):
            os.kill(number, signal.SIGKILL)
    assert list(project.folder.glob(".runs/store/*.attempt-*"))
    killed = run_record(project)
    assert killed["status"] == "Running"  # nobody was there to write another word
    shown = project.main("status", killed["run"])
    assert shown.status == 130
    assert shown.out.startswith(f"{killed['run']}: Interrupted\n")
    assert project.main("show", killed["run"]).out == shown.out
    assert run_record(project)["status"] == "Interrupted"
    assert run_record(project)["steps"]["left"]["status"] == "Interrupted"
    # The very same step, let through from outside.
    (project.folder / "go").touch()
    outcome = project.run()
    assert outcome.status == 0
    assert outcome.reused() == {"left": False, "right": False, "joined": False}
    assert Path(outcome.record["outputs"]["joined"]).read_text().startswith("hello a 1")
    assert not list(project.folder.glob(".runs/store/*.attempt-*"))


def test_run_that_lives_is_running(project):
    project.effect(SLEEP)
    process = project.start("run", "toy", "--set", "source=src", stderr=subprocess.DEVNULL)
    started(project, 2)
    name = run_record(project)["run"]
    assert project.main("status", name).out.startswith(f"{name}: Running\n")
    assert run_record(project)["status"] == "Running"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert project.main("status", name).out.startswith(f"{name}: Canceled\n")


def test_next_run_records_that_the_one_before_was_killed(project):
    project.effect(TRACKED)
    process = project.start("run", "toy", "--set", "source=src")
    wait_for(lambda: len(list(project.folder.glob("tracking-*"))) == 2)
    killed = run_record(project)["run"]
    process.kill()
    process.communicate()
    (project.folder / "go").touch()
    assert project.run().status == 0
    record = json.loads((project.folder / ".runs/runs" / killed / "run.json").read_text())
    assert record["status"] == "Interrupted"
    client = mlflow.MlflowClient(*[f"sqlite:///{project.folder}/.runs/mlflow.db"] * 2)
    [experiment] = [it for it in client.search_experiments() if it.name == "toy"]
    runs = client.search_runs([experiment.experiment_id])
    ended = {run.info.status for run in runs if run.data.tags["tfhub_blocks.run"] == killed}
    assert ended == {"KILLED"}


@pytest.mark.slow
def test_eight_runs_that_start_at_once_in_an_empty_folder_complete(project):
    project.effect(
        "import mlflow\nfrom tfhub_blocks.compute.step.tracking import track\n"
        'track("made", {"number": 1.0}, {"letter": text}, folder)'
    )
    runs = [
        project.start("run", "toy", "--set", "source=src", "--set", f"count={1 + number}")
        for number in range(8)
    ]
    ends = [(run.communicate(timeout=5 * PATIENCE_S), run.returncode) for run in runs]
    assert [status for _, status in ends] == [0] * 8, ends
    client = mlflow.MlflowClient(*[f"sqlite:///{project.folder}/.runs/mlflow.db"] * 2)
    [experiment] = [it for it in client.search_experiments() if it.name == "toy"]
    found = client.search_runs([experiment.experiment_id])
    # All share the left step, and each has a right one of its own.
    assert [run.info.status for run in found] == ["FINISHED"] * 9


def test_two_runs_that_want_the_same_step_make_it_once(project):
    project.effect('(Path(source).parent / f"made-{os.getpid()}").touch()\ntime.sleep(1)')
    runs = [project.start("run", "toy", "--set", "source=src", "--json") for _ in range(2)]
    records = [json.loads(run.communicate(timeout=PATIENCE_S)[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(list(project.folder.glob("made-*"))) == 2  # left and right
    for name in ("left", "right", "joined"):
        assert sorted(record["steps"][name]["reused"] for record in records) == [False, True]
    assert records[0]["run"] != records[1]["run"]


@pytest.mark.slow
def test_run_that_waits_for_another_can_be_interrupted(project):
    project.effect(SLEEP)
    first = project.start("run", "toy", "--set", "source=src")
    numbers = started(project, 2)
    second = project.start("run", "toy", "--set", "source=src", stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(project.folder.glob(".runs/runs/*/steps/right/code"))) == 2)
    time.sleep(0.5)
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 130
    assert all(is_alive(number) for number in numbers)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=PATIENCE_S)


def test_steps_run_from_their_snapshot_and_do_not_see_azure(project):
    project.effect(
        "import tfhub_blocks\n"
        "try:\n    import azure.ai.ml\n    seen = True\n"
        "except ModuleNotFoundError:\n    seen = False\n"
        '(folder / "seen").write_text(f"{tfhub_blocks.__file__}\\n{__file__}\\n{seen}")'
    )
    record = project.run().record
    made = Path(record["steps"]["left"]["outputs"]["made"])
    code = f"{record['folder']}/steps/left/code"
    assert (made / "seen").read_text().split("\n") == [
        f"{code}/tfhub_blocks/__init__.py",
        f"{code}/component.py",
        "False",
    ]


def test_edit_while_a_run_goes_on_is_no_part_of_it(project):
    """Azure ML takes the code of all steps when the job is submitted."""
    project.effect(
        'path = Path(source).parent / "components/join/component.py"\n'
        'path.write_text(path.read_text().replace("a toy", "edited"))\n'
    )
    assert project.run().record["steps"]["joined"]["warnings"] == ["a toy"]


def test_paths_with_spaces_and_other_alphabets(project):
    project.write("mes données é/word", "hello")
    outcome = project.run("--runs-dir", "läufe und so $HOME", source="mes données é")
    assert outcome.status == 0
    assert Path(outcome.record["outputs"]["joined"]).read_text().startswith("hello a 1 True")
    assert project.run("--runs-dir", "läufe und so $HOME", source="mes données é").status == 0


def test_next_commands_can_be_pasted_with_any_path(project):
    outcome = project.main("run", "toy", "--set", "source=src", "--runs-dir", "with space")
    [line] = [line for line in outcome.out.splitlines() if "mlflow ui" in line]
    assert line.endswith(f"--backend-store-uri 'sqlite:///{project.folder}/with space/mlflow.db'")


def test_source_with_a_link_to_a_folder_is_told(project):
    (project.folder / "src" / "more").symlink_to(project.folder / "components")
    outcome = project.run()
    assert outcome.status == 1
    assert "is a link to a folder" in outcome.record["steps"]["left"]["error"]


def test_source_with_a_link_to_a_file_is_the_file(project):
    project.run()
    (project.folder / "src" / "word").rename(project.folder / "word")
    (project.folder / "src" / "word").symlink_to("../word")
    assert all(project.run().reused().values())


def test_value_with_an_equals_sign_and_shell_signs_arrives(project):
    path = project.folder / "components/make/component.py"
    enum = 'enum=["a", "b"], '
    path.write_text(path.read_text().replace(enum, ""))
    toy = project.folder / "pipelines/toy.py"
    toy.write_text(toy.read_text().replace(enum, ""))
    value = 'a=b $HOME `id` "q" \\n %s * -- ü'
    outcome = project.run("--set", f"text={value}")
    assert outcome.status == 0
    made = Path(outcome.record["outputs"]["joined"]).read_text()
    assert made.startswith(f"hello {value} 1")


def test_fault_of_the_engine_stops_the_steps_and_is_on_record(project, monkeypatch):
    from tfhub_blocks.control.project.output_store import Store

    def fail(*_):
        raise AssertionError("a fault")

    monkeypatch.setattr(Store, "finish", fail)
    outcome = project.run()
    assert outcome.status == 1
    [line] = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: [tfhub-blocks > AssertionError] an unforeseen error ended")
    [place] = project.folder.glob(".runs/tfhub-blocks-error-*.txt")
    assert str(place) in line
    assert "Traceback (most recent call last):" in place.read_text()
    record = run_record(project)
    assert record["status"] == "Failed"
    assert "Running" not in [step["status"] for step in record["steps"].values()]


def test_run_leaves_no_file_open(project):
    project.run()
    before = psutil.Process().num_fds()
    project.run("--no-reuse")
    assert psutil.Process().num_fds() <= before
