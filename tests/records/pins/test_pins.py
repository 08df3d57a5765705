from dataclasses import replace
from pathlib import Path

import pytest

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import (
    Decisions,
    EncoderOutput,
    Golden,
    Operations,
    Pin,
    PinnedFile,
    Training,
    check_files,
    copy_files,
    files_digest,
    read_pin,
)

FILES = {
    "saved_model.pb": PinnedFile("a" * 64, 10),
    "variables/variables.index": PinnedFile("b" * 64, 3),
}
PIN = Pin(
    name="small",
    handle="https://tfhub.dev/someone/small/1",
    digest=files_digest(FILES),
    loaded_class="reusable",
    modality="image",
    licence="Apache-2.0",
    input={"size_px": [160, 224], "range": [0.0, 1.0], "dtype": "float32"},
    output=EncoderOutput(24, "default"),
    training=Training(3, ("kernel", "gain"), (1,)),
    operations=Operations(("AddV2", "Conv2D")),
    golden=Golden(((0.5, 0.25), (1.0, -3e-05)), 0.01, "2.21.0"),
    files=FILES,
    decisions=Decisions("mounted", "forbidden", "realtime", 20.0),
)


def test_a_pin_is_read_as_it_was_written(tmp_path: Path) -> None:
    text = replace(PIN, modality="text", input={}, output=EncoderOutput(8, pooling="mean_std"))
    for pin in (PIN, text):
        pin.write(tmp_path / "encoder.toml")
        assert read_pin(tmp_path / "encoder.toml") == pin


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "small"', 'nmae = "small"', "key 'nmae' is unknown. Did you mean 'name'?"),
        ("[output]\ndimension", "[output]\ndimensions", "mean 'output.dimension'?"),
        ("fine_tuning =", "fine_tunning =", "'decisions.fine_tuning'"),
        ("dimension = 24", 'dimension = "24"', "output.dimension is '24'. Expected an integer"),
        ("dimension = 24", "dimension = true", "output.dimension is True. Expected an integer"),
        ("dimension = 24", "dimension = 0", "dimension is 0. Expected 1 or more"),
        ('"mounted"', '"mount"', "decisions.loading is 'mount'. Expected one of mounted"),
        ('"mounted"', '"mount"', "Did you mean 'mounted'?"),
        (
            'pooling = "none"',
            'pooling = "sum"',
            "output.pooling is 'sum'. Expected one of none",
        ),
        (
            "trainable = [\n",
            "trainable = [\n    1,\n",
            "training.trainable is 1. Expected a str",
        ),
        ("cuts = [\n    1,\n", "cuts = [\n    2,\n", "cuts are [2]. Expected rising"),
        ("cuts = [\n    1,\n]", "cuts = 1", "training.cuts is 1. Expected a list"),
        ("tolerance = 0.01", "tolerance = 0", "tolerance is 0.0. Expected more than 0"),
        (
            "packages = []",
            'packages = ["os"]',
            "operations.packages is 'os'. Expected one of t",
        ),
        ("latency_budget_ms = 20.0", "latency_budget_ms = -1", "latency_budget_ms is -1.0"),
        ("latency_budget_ms = 20.0", "latency_budget_ms = -1", "Edit decisions.latency_budget_ms"),
        ('name = "small"', 'name = "../small"', "name is '../small'"),
        ('"saved_model.pb"', '"../saved_model.pb"', "path '../saved_model.pb' leaves the folder"),
        ("a" * 64, "A" * 64, "files.saved_model.pb.sha256] sha256 is 'AAA"),
        ("a" * 64, "c" * 64, "the digest of the listed files"),
        ("size_bytes = 10", "size = 10", "key 'files.saved_model.pb.size' is unknown"),
        ("format_version = 1", "format_version = 2", "is 2. Expected a version from 1 to 1"),
        ("format_version = 1", "format_version = 2", "Update tfhub-blocks"),
        ("format_version = 1", "", "format_version is missing"),
        ("format_version = 1", "", "Set format_version = 1 in encoder.toml"),
        ("[output]\ndimension = 24", "[output]", "key 'output.dimension' is missing"),
        ("[training]", "[training", "encoder.toml is not a TOML document ("),
        ("[training]", "[[training]]", "training is [{"),
    ],
)
def test_a_mistake_in_a_pin_is_named_with_its_key(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.toml"
    PIN.write(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

    with pytest.raises(BlocksError) as caught:
        read_pin(path)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "b/two").write_bytes(b"tWo"), "> b/two] file b/two has sha256 "),
        (lambda d: (d / "one").unlink(), "> one] file one is missing. Expected sha256 "),
        (lambda d: (d / "new").write_bytes(b""), "> new] file new has sha256 e3b0c4"),
    ],
)
def test_a_file_that_is_not_as_pinned_is_named(change, message: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "b").mkdir(parents=True)
    (source / "one").write_bytes(b"one")
    (source / "b/two").write_bytes(b"two")
    pinned = copy_files(source, tmp_path / "first")
    pin = replace(PIN, files=pinned, digest=files_digest(pinned))
    check_files(pin, pinned, "test")

    change(source)
    with pytest.raises(BlocksError) as caught:
        check_files(pin, copy_files(source, tmp_path / "second"), "test")

    assert message in str(caught.value)


def test_links_are_copied_as_what_they_name(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"content")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/saved_model.pb").symlink_to("../blob")

    copied = copy_files(tmp_path / "source", tmp_path / "target")

    assert not (tmp_path / "target/saved_model.pb").is_symlink()
    assert (tmp_path / "target/saved_model.pb").read_bytes() == b"content"
    assert copied["saved_model.pb"].size_bytes == 7
