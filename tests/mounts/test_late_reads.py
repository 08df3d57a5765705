"""What a node of a job sees of the files of another node, and what steps do about it."""

import os
import sys

import pytest
from mounted_job import Command

from tfhub_blocks.control.local.step_process import step_environment

# Seconds are long enough for the data runtime, and nothing here depends on the speed of a machine.
WRITER = """
import sys, time
from pathlib import Path

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
with (folder / "slow").open("wb") as file:
    for _ in range(10):
        file.write(b"x" * 1_000_000)
        file.flush()
        time.sleep(0.2)
(folder / "again").write_bytes(b"short")
time.sleep(2)
(folder / "again").unlink()
(folder / "again").write_bytes(b"longer text")
(folder / "done").touch()
"""
READER = """
import sys, time
from pathlib import Path

folder = Path(sys.argv[1])
while not (folder / "done").exists():
    names = [path.name for path in folder.glob("*")]
    seen = [name for name in ("slow", "again") if (folder / name).exists()]
    time.sleep(0.1)
time.sleep(2)
print(*(len((folder / name).read_bytes()) for name in ("slow", "again")))
"""
PARTS = """
import sys, time
from pathlib import Path

import pyarrow as pa

import tfhub_blocks.compute.inference.parts as module

def slowly(source, target):
    with target.open("wb") as file:
        for block in (b"", source.read_bytes()):
            file.write(block)
            file.flush()
            time.sleep(1)

parts, role = module.PartFiles(Path(sys.argv[1]) / "parts"), sys.argv[2]
if role == "writer":
    module.copy_file = slowly
    schema = pa.schema([pa.field("number", pa.int64())])
    for number in (0, 1):
        batch = pa.record_batch([pa.array(range(200_000))], schema=schema)
        parts.write_batches(number, schema, [batch])
else:
    waits = []
    print(*(len(parts.table(number, waits.append)) for number in (0, 1)), bool(waits))
"""


@pytest.mark.slow
def test_node_never_sees_the_end_of_a_file_that_it_saw_unfinished(mounts, tmp_path):
    nodes = [mounts.mount("late") for _ in range(2)]
    commands = [
        Command([sys.executable, "-c", program, node / "x"], tmp_path, {"PATH": os.environ["PATH"]})
        for program, node in zip((WRITER, READER), nodes, strict=True)
    ]
    (written, read), _ = mounts.run(*commands)
    assert (written.status, read.status) == (0, 0), read.stderr
    # The file of 10 MB is empty for ever, and the rewritten one has its first length.
    assert read.stdout.split() == ["0", "5"]


def test_node_waits_for_a_part_that_another_node_writes_slowly(mounts, tmp_path):
    nodes = [mounts.mount("parts") for _ in range(2)]
    commands = [
        Command([sys.executable, "-c", PARTS, node, role], tmp_path, step_environment({}))
        for role, node in zip(("writer", "reader"), nodes, strict=True)
    ]
    done, _ = mounts.run(*commands)
    assert [each.status for each in done] == [0, 0], [each.stderr for each in done]
    assert done[1].stdout.split() == ["200000", "200000", "True"]
