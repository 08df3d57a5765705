import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from tfhub_blocks.cli import main
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.modalities.sounds import Sounds
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import EncoderOutput, read_pin
from tfhub_blocks.samples import audio_encoder
from tfhub_blocks.samples.sample_sounds import NOTES, write_sample_sounds
from tfhub_blocks.samples.sample_texts import write_sample_texts


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contents = (path.name.encode() + path.read_bytes() for path in files)
    return hashlib.sha256(b"".join(contents)).hexdigest()


@pytest.mark.slow
def test_sounds_are_notes_of_three_kinds(tmp_path: Path) -> None:
    done = []
    count = write_sample_sounds(tmp_path / "a", lambda *progress: done.append(progress))

    paths = list((tmp_path / "a").glob("*/*"))
    assert count == len(paths) == 280
    assert done[-1] == (280, 280)
    assert Counter(path.parent.name for path in paths) == dict.fromkeys(NOTES, 40)
    assert {path.suffix for path in paths} == {".wav", ".flac", ".mp3"}
    assert len({soundfile.info(path).samplerate for path in paths}) == 3
    faults = {Sounds.content_fault(path.read_bytes(), Limits(1, 3)) for path in paths}
    assert faults == {None}


@pytest.mark.slow
def test_sounds_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_sample_sounds(tmp_path / name, lambda *_: None)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_texts_are_a_table_of_names_and_groups(tmp_path: Path) -> None:
    count = write_sample_texts(tmp_path / "texts")

    with (tmp_path / "texts/emoji.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count > 800
    assert {"text": "peacock", "label": "Animals & Nature"} in rows
    assert len({row["label"] for row in rows}) == 6


def test_the_audio_encoder_is_the_packages_own_with_a_pin(tmp_path: Path) -> None:
    assert main(["samples", "audio-encoder", str(tmp_path / "encoder")]) == 0

    pin = read_pin(tmp_path / "encoder/encoder.toml")
    assert pin.input == {"shape": [-1, 43844, 1], "rate_hz": 22050, "dtype": "float32"}
    assert pin.output == EncoderOutput(176, "note", "mean_std")
    assert (pin.modality, pin.licence, pin.training.variables) == ("audio", "Apache-2.0", 24)
    # Of 18 trainable ones, those on the way to the notes.
    assert len(pin.training.trainable) == 12
    assert pin.training.cuts[0] == 2


def test_another_package_of_the_audio_encoder_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(audio_encoder, "DIGEST", "0" * 64)
    with pytest.raises(BlocksError, match="--force-reinstall --no-deps basic-pitch"):
        audio_encoder.write_sample(tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["text", "audio", "encoder", "text-encoder", "audio-encoder"])
def test_a_folder_that_is_there_is_left_alone(what: str, tmp_path: Path, capsys) -> None:
    assert main(["samples", what, str(tmp_path)]) == 2
    assert f"[samples > {tmp_path}] {tmp_path} exists already" in capsys.readouterr().err
