"""Several processes that share one step, as an engine starts them: with a TF_CONFIG each."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toy_project import PATIENCE_S, SHARE, wait_for

from tfhub_blocks.records.base.folders import (
    WORK_NAME,
    Format,
    begin_folder,
    finish_folder,
    open_folder,
)
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.base.worker_group import tf_config

ROOT = Path(__file__).parents[1]
SHARED = Format("shared", 1)
PROVENANCE = Provenance("make", {}, (), "0" * 64, "0" * 64, "", "")


def write_source(folder: Path, text: str) -> Path:
    (begin_folder(folder, PROVENANCE) / "f").write_text(text)
    finish_folder(folder, "made", Format("made", 1), PROVENANCE)
    return folder


class Shared:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "code" / "component.py"
        self.code.parent.mkdir()
        self.output = folder / "shared"
        self.source = write_source(folder / "source", "x")
        self.write()

    def write(self, effect="pass", **replaced):
        text = SHARE.replace("# EFFECT", effect.replace("\n", "\n                "))
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        self.code.write_text(text)

    def start(self, index, count, source=None, configuration=None):
        """Start one of several workers."""
        addresses = [f"127.0.0.1:{9000 + number}" for number in range(count)]
        return subprocess.Popen(
            [sys.executable, str(self.code), str(source or self.source), str(self.output), "12"],
            env=os.environ
            | {
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tfhub_blocks/control/step_site'}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "TF_CONFIG": configuration or tf_config(addresses, index),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, count, **more):
        """Run so many workers; status, output and errors of each."""
        return [ended(process) for process in [self.start(i, count, **more) for i in range(count)]]


def ended(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


@pytest.fixture
def shared(tmp_path):
    return Shared(tmp_path)


def made(out):
    return [line for line in out.splitlines() if line.startswith("made")]


def test_output_is_the_same_whatever_the_number_of_workers(shared):
    digests = set()
    for count in (1, 2, 3, 7):
        done = shared.run(count)
        assert [status for status, _, _ in done] == [0] * count, done
        assert sum(len(made(out)) for _, out, _ in done) == 12
        output = open_folder(shared.output, SHARED, "test").check()
        assert sorted(path.name for path in shared.output.iterdir()) == ["all", "lineage.json"]
        digests.add(output.digest)
        shutil.rmtree(shared.output)
    assert len(digests) == 1


def test_rerun_makes_what_a_killed_attempt_did_not_with_any_number_of_workers(shared):
    # The code is part of what the work is, so what lets them through is outside of it.
    effect = "if done > 5 and not (Path(source).parent / 'go').exists():\n    time.sleep(600)"
    shared.write(effect)
    workers = [shared.start(index, 2) for index in range(2)]
    first = [process.stdout.readline() for process in workers]
    parts = next((shared.output / WORK_NAME).glob("[0-9a-f]*"))
    wait_for(lambda: len([p for p in parts.iterdir() if not p.name.startswith(".")]) >= 6)
    for process in workers:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert all(line.startswith("made") for line in first)
    (shared.folder / "go").touch()
    done = shared.run(3)
    assert [status for status, _, _ in done] == [0, 0, 0]
    assert sum(len(made(out)) for _, out, _ in done) == 6
    open_folder(shared.output, SHARED, "test").check()


def test_worker_that_was_given_another_input_is_named(shared):
    other = write_source(shared.folder / "other", "y")
    stranger = shared.start(1, 2, source=other)
    status, _, err = ended(shared.start(0, 2))
    stranger.kill()
    ended(stranger)
    assert status == 1
    digests = [
        open_folder(f, Format("made", 1), "x").digest
        for f in (shared.folder / "other", shared.source)
    ]
    assert err == (
        "error: [share > worker 1 of 2 (the first is 0)] "
        f"input source of worker 1 is {digests[0]}. "
        f"Expected {digests[1]}, as on worker 0. Start all workers with the same code, "
        "environment, inputs and parameters.\n"
    )
    assert not (shared.output / "lineage.json").exists()


def test_step_that_does_not_share_its_work_refuses_several_workers(shared):
    shared.write(**{', "workers": "many"': ""})
    status, _, err = ended(shared.start(1, 3))
    assert status == 1
    assert err == (
        "error: [share > TF_CONFIG] the process is worker 1 of 3 (the first is 0), but the step "
        'cannot share its work. Expected one worker, or a component with the tag "workers": "many" '
        "and an output folder. Set instance_count to 1 for this step.\n"
    )
    assert [status for status, _, _ in shared.run(1)] == [0]


def test_malformed_configuration_is_one_line(shared):
    status, _, err = ended(shared.start(0, 2, configuration="{"))
    assert status == 1
    assert err.startswith("error: [share > TF_CONFIG] TF_CONFIG is '{' (")
    assert err.count("\n") == 1


def test_output_begun_by_another_worker_than_the_first_is_told(shared):
    shared.write('run.begin_output("shared", Format("shared", 1))')
    status, _, err = ended(shared.start(1, 2))
    assert status == 1
    assert "worker 1 of 2 (the first is 0) called begin_output. Expected a call from" in err


def test_work_of_an_input_without_a_digest_is_not_kept(shared):
    (shared.source / "lineage.json").unlink()
    [(status, _, err)] = shared.run(1)
    assert status == 1
    assert "[share > source] the input has no lineage, so finished parts cannot" in err
