"""`tfhub-blocks encoder` on the small encoder: pinned from what a team has at hand."""

import os
import pty
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from toy_project import PATIENCE_S

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.handles import canonical_handle, is_mutable
from tfhub_blocks.records.pins.pins import Decisions, read_pin

DECIDED = ["--loading", "mounted", "--fine-tuning", "forbidden", "--inference", "batch"]


@pytest.fixture
def small(project, saved_encoder):
    """The small encoder in the project, as a folder."""
    return shutil.copytree(saved_encoder, project.folder / "small")


def normal(project, text):
    text = re.sub(r"\b[0-9a-f]{64}\b", "SHA256", project.normal(text))
    return re.sub(r"\b\d+\.\d (s|MB)\b", r"N \1", text)


def test_pin_writes_what_the_encoder_is_and_what_was_decided(project, small, golden):
    outcome = project.main("encoder", "pin", "small", "--to", "encoders/lite", *DECIDED)
    assert (outcome.status, outcome.err) == (0, "")
    golden("encoder_pin", normal(project, outcome.out))
    pin = read_pin(Path("encoders/lite/encoder.toml"))
    assert (pin.name, pin.handle, pin.output.dimension) == ("lite", "folder:small", 24)
    assert pin.decisions == Decisions("mounted", "forbidden", "batch")
    assert Path("encoders/lite/saved_model/saved_model.pb").is_file()
    assert [path.name for path in Path("encoders").iterdir()] == ["lite"]


def test_repeated_facts_add_up(project, small):
    facts = ["--facts", "range=-1:1", "--facts", "licence=MIT, background=0:0:0"]
    assert project.main("encoder", "pin", "small", "--to", "encoders/x", *facts).status == 0
    pin = read_pin(Path("encoders/x/encoder.toml"))
    assert (pin.input["range"], pin.input["background"], pin.licence) == ([-1, 1], [0, 0, 0], "MIT")
    outcome = project.main(
        "encoder", "pin", "small", "--to", "encoders/y", *facts, "--facts", "range=0:1"
    )
    assert outcome.status == 2
    assert "[facts > range] the fact range is [-1, 1] and [0, 1]" in outcome.err


def test_what_is_not_decided_is_told_and_stays_open(project, small, golden):
    with tarfile.open("small.tar.gz", "w:gz") as tar:
        tar.add(small, "small")
    arguments = ["small.tar.gz", "--to", "encoders/lite", "--loading", "baked", "--without-model"]
    outcome = project.main("encoder", "pin", *arguments)
    assert outcome.status == 0
    golden("encoder_pin_undecided", normal(project, outcome.err))
    assert read_pin(Path("encoders/lite/encoder.toml")).handle == "file:small.tar.gz"
    assert [path.name for path in Path("encoders/lite").iterdir()] == ["encoder.toml"]


def test_what_is_not_decided_is_asked_for_on_a_terminal(project, small):
    """A mistyped answer is asked for again; none leaves it open."""
    ours, theirs = pty.openpty()
    arguments = ["encoder", "pin", "small", "--to", "encoders/lite", "--fine-tuning", "allowed"]
    process = project.start(*arguments, stdin=theirs)
    os.write(ours, b"mouted\nbaked\nrealtime\n12.5\n")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert out.count("loading (mounted, baked, downloaded; empty: undecided): ") == 2
    assert "fine_tuning (" not in out
    decisions = read_pin(Path("encoders/lite/encoder.toml")).decisions
    assert decisions == Decisions("baked", "allowed", "realtime", 12.5)


def test_verify_tells_every_encoder_that_is_not_as_pinned(project, small):
    for name in ("a", "b", "c"):
        project.main("encoder", "pin", "small", "--to", f"encoders/{name}", *DECIDED)
    assert project.main("encoder", "verify").status == 0
    with Path("encoders/a/saved_model/saved_model.pb").open("ab") as file:
        file.write(b"\0")
    pin = Path("encoders/c/encoder.toml")
    pin.write_text(pin.read_text().replace("dimension = 24", "dimension = 25"))
    outcome = project.main("encoder", "verify")
    assert outcome.status == 1
    assert outcome.out == "encoders/b: 4 files and all facts match the pin\n"
    assert "saved_model.pb] file saved_model.pb has sha256" in outcome.err
    assert "output.dimension] the pin states 25. Expected 24" in outcome.err
    assert outcome.err.count("error: ") == 2


def test_show_says_what_each_decision_means_with_what_was_measured(project, small, golden):
    project.main("encoder", "pin", "small", "--to", "encoders/lite", *DECIDED)
    outcome = project.main("encoder", "show", "encoders/lite")
    assert outcome.status == 0
    assert re.search(r"verifies and loads them in \d\.\d s", outcome.out)
    golden("encoder_show", normal(project, outcome.out))


def test_cuts_say_what_each_costs(project, keras_encoder, golden):
    outcome = project.main("encoder", "cuts", str(keras_encoder), "--items", "2000")
    assert (outcome.status, outcome.err) == (0, "")
    told = re.sub(r"[\d,.]+ (ms|s)\b", r"N \1", outcome.out)
    golden("encoder_cuts", re.sub(r" +(N s)", r"  \1", told))
    outcome = project.main("encoder", "cuts", str(keras_encoder), "--activations", "float32")
    assert outcome.out.count("4.6 kB") == 2


def test_list_tells_of_each_and_of_one_that_cannot_be_read(project, small, golden):
    project.main("encoder", "pin", "small", "--to", "encoders/lite", *DECIDED)
    project.write("encoders/odd/encoder.toml", "format_version = 9\n")
    outcome = project.main("encoder", "list")
    assert outcome.status == 1
    golden("encoder_list", normal(project, outcome.out + outcome.err))


WRONG = {
    "unknown": ["pin", "lite0", "--to", "encoders/x"],
    "no_model": ["pin", "src", "--to", "encoders/x"],
    "there_already": ["pin", "small", "--to", "src"],
    "local_downloaded": ["pin", "small", "--to", "encoders/x", "--loading", "downloaded"],
    "no_budget": ["pin", "small", "--to", "encoders/x", "--inference", "realtime"],
    "needless_budget": ["pin", "small", "--to", "encoders/x", "--latency-budget-ms", "5"],
    "label": ["pin", "azureml:lite0@latest", "--to", "encoders/x"],
    "password": ["pin", "https://me:secret@example.org/m/1", "--to", "encoders/x"],
    "none": ["list", "nowhere"],
    "no_pin": ["show", "small"],
    "no_items": ["cuts", "small", "--items", "0"],
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_is_told_in_one_line(name, project, small, golden):
    outcome = project.main("encoder", *WRONG[name])
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert "secret" not in outcome.err
    assert not list(Path().glob("encoders/*"))
    golden(f"error_encoder_{name}", normal(project, outcome.err))


@pytest.mark.parametrize(
    ("handle", "mutable"),
    [
        ("https://tfhub.dev/google/nnlm-en-dim50/2", False),
        ("https://tfhub.dev/google/nnlm-en-dim50", True),
        ("https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1", False),
        ("kagglehub:google/nnlm/tensorFlow2/en-dim50/1", False),
        ("kagglehub:google/nnlm/tensorFlow2/en-dim50", True),
        ("azureml:lite0:3", False),
        ("azureml:lite0@latest", True),
        ("azureml://registries/r/models/lite0/versions/3", False),
        ("azureml://registries/r/models/lite0/labels/latest", True),
        ("models:/lite0/3", False),
        ("models:/lite0/Production", True),
        ("models:/lite0@champion", True),
        ("runs:/0123/encoder", False),
        ("folder:small", False),
    ],
)
def test_a_handle_without_a_version_is_mutable(handle, mutable):
    assert is_mutable(handle) == mutable


@pytest.mark.parametrize("tail", ["", "/", "?tf-hub-format=compressed", "/?a=b#c"])
def test_a_pin_keeps_one_spelling_of_an_address(tail):
    assert canonical_handle(f"HTTPS://TFHub.dev/Google/x/2{tail}") == "https://tfhub.dev/Google/x/2"
    with pytest.raises(BlocksError, match="the address contains a name or a password"):
        canonical_handle("https://me:secret@example.org/m/1")


def test_list_imports_neither_tensorflow_nor_azure(project, small):
    project.main("encoder", "pin", "small", "--to", "encoders/lite", *DECIDED)
    script = (
        "import sys; from tfhub_blocks.cli import main; status = main(['encoder', 'list'])\n"
        "assert status == 0 and not {'tensorflow', 'azure.ai.ml'} & sys.modules.keys()"
    )
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", script], env=os.environ | path, check=True)
