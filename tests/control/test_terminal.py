"""What a person sees: a live table on a terminal, lines elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from toy_project import PATIENCE_S

ROOT = Path(__file__).parents[2]


def on_terminal(project, columns, *arguments, awaited=b""):
    """What a command writes to a terminal of so many columns, and its status.

    Once it has written what is awaited, there is a file ``go``.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "CI")}
    process = project.start(
        *arguments,
        stdout=follower,
        stderr=follower,
        env=environment | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
    )
    os.close(follower)
    written = b""
    while True:
        try:
            written += (part := os.read(leader, 65536))
        except OSError:  # how Linux says that the other end was closed
            break
        if not part:
            break
        if awaited in written:
            (project.folder / "go").touch()
    os.close(leader)
    return written.decode(), process.wait(PATIENCE_S)


@pytest.mark.parametrize("columns", [50, pytest.param(120, marks=pytest.mark.slow)])
def test_live_table_shows_steps_and_how_they_end(columns, project):
    project.effect(
        'send_message("progress", "3/4 images, 2/s")\n'
        "while not (Path(source).parent / 'go').exists():\n    time.sleep(0.02)"
    )
    awaited = b"2/s" if columns == 120 else b"Runni"
    run = ("run", "toy", "--set", "source=src")
    written, status = on_terminal(project, columns, *run, awaited=awaited)
    assert status == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    frames = plain.split("┏")
    assert len(frames) > 2
    assert any("Runni" in frame for frame in frames)
    for name in ("left", "right", "joined"):
        [row] = [line for line in frames[-1].splitlines() if line.startswith(f"│ {name}")]
        assert "Comple" in row
    assert all(len(line) <= columns for line in frames[-1].partition("\r\n\r\n")[0].splitlines())
    if columns == 120:
        assert "3/4 images, 2/s" in plain
    assert "Completed in" in plain


def test_lines_for_a_log(project, golden):
    project.limit(parallel=1)
    outcome = project.main("run", "toy", "--set", "source=src", "--profile", "limited")
    golden("run_completed", project.normal(outcome.out))
    again = project.main("run", "toy", "--set", "source=src", "--profile", "limited")
    assert again.out.count("(reused)") == 3


def test_failure_for_a_log(project, golden):
    project.limit(parallel=1)
    told = "[make > x] it is bad. Expected good. mend it"
    project.effect(f'send_message("error", "{told}")\nos._exit(1)')
    outcome = project.main("run", "toy", "--set", "source=src", "--profile", "limited")
    assert outcome.status == 1
    golden("run_failed", project.normal(outcome.out))


def test_reader_that_goes_away_is_no_traceback(project):
    process = project.start("list", stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(PATIENCE_S)


def test_broken_connection_is_not_taken_for_a_reader_that_went_away(project, monkeypatch):
    def broken():
        raise BrokenPipeError("of a socket")

    monkeypatch.setattr("tfhub_blocks.control.repository.catalog.pipeline_files", broken)
    outcome = project.main("list")
    assert outcome.status == 1
    assert "error: [tfhub-blocks > BrokenPipeError] an unforeseen error ended" in outcome.err
