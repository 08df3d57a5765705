"""The files of a toy project: two steps, and a pipeline of three nodes."""

MAKE = '''"""make: writes a file."""

import os
import signal
import subprocess
import time
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.steps import step
from tfhub_blocks.records.folders import Format


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def make(
    source: Input(type="uri_folder", description="What it reads"),
    made: Output(type="uri_folder", description="What it writes"),
    text: Input(type="string", enum=["a", "b"], description="A letter") = "a",
    count: Input(type="integer", min=1, max=9, description="How many") = 1,
    flag: Input(type="boolean", description="Yes or no") = False,
    maybe: Input(type="number", optional=True, description="Or nothing") = None,
):
    """Doc."""
    with step(make, locals()) as run:
        folder = run.begin_output("made", Format("made", 1))
        word = (Path(source) / "word").read_text()
        (folder / "f.txt").write_text(f"{word} {text} {count} {flag} {maybe}|")
        # EFFECT
'''
JOIN = '''"""join: joins two files."""

from pathlib import Path

from mldesigner import Input, Output, command_component


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def join(
    left: Input(type="uri_folder", description="One"),
    right: Input(type="uri_folder", description="Other"),
    joined: Output(type="uri_file", description="Both"),
):
    """Doc."""
    print("progress: 1/2 things, 1/s")
    print("warning: a toy", flush=True)
    texts = [(Path(folder) / "f.txt").read_text() for folder in (left, right)]
    Path(joined).write_text("".join(texts))
'''
TOY = '''"""toy: two steps and one that joins them."""

from azure.ai.ml import Input, dsl

from components import join, make


@dsl.pipeline(name="toy")
def toy(
    source: Input(type="uri_folder", description="A folder"),
    text: Input(type="string", enum=["a", "b"], description="A letter") = "a",
    count: Input(type="integer", min=1, max=9, description="How many") = 3,
    rate: Input(type="number", min=0.0, max=1.0, description="A share") = 0.5,
    flag: Input(type="boolean", description="Yes or no") = True,
    maybe: Input(type="number", optional=True, description="Or nothing") = None,
):
    left = make(source=source, text=text, maybe=maybe, flag=flag)
    right = make(source=source, text="b", count=count)
    joined = join(left=left.outputs.made, right=right.outputs.made)
    return {"joined": joined.outputs.joined}
'''
