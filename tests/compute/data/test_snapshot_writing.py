import csv
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.snapshot_writer import write_snapshot
from tfhub_blocks.records.formats.snapshots import (
    ITEM_SCHEMA,
    REJECTED_NAME,
    SNAPSHOT,
    SOURCES_NAME,
    ItemWriter,
    SnapshotManifest,
    open_snapshot,
)

OPTIONAL = ("twins.parquet", "near_duplicates.parquet")
Rows = list[dict[str, object]]


class Taken:
    """A snapshot as a test looks at it."""

    def __init__(self, manifest: SnapshotManifest, folder: Path) -> None:
        self.manifest = manifest
        self.folder = folder
        tables = [pa.ipc.open_file(str(folder / name)).read_all() for name in manifest.shards]
        self.items = pa.concat_tables(tables).to_pylist()
        self.rejected = pq.read_table(folder / REJECTED_NAME).to_pylist()
        self.sources = pq.read_table(folder / SOURCES_NAME).to_pylist()

    def labels(self) -> dict[bytes, str]:
        return {item["content"]: item["label"] for item in self.items}

    def splits(self) -> dict[bytes, str]:
        return {item["content"]: item["split"] for item in self.items}

    def reasons(self) -> dict[str, str]:
        return {row["path"]: row["reason"] for row in self.rejected}

    def shards(self) -> list[bytes]:
        return [(self.folder / name).read_bytes() for name in self.manifest.shards]


@pytest.fixture
def take(tmp_path):
    """Takes a snapshot of a source in a new folder."""
    taken = 0

    def take(source: Path, **options) -> Taken:
        nonlocal taken
        taken += 1
        folder = tmp_path / f"snapshot-{taken}"
        folder.mkdir()
        manifest = take_snapshot(source, folder, SnapshotOptions(**options), lambda *_: None)
        assert sorted(path.name for path in folder.iterdir() if path.name not in OPTIONAL) == [
            "inspection.html",
            "inspection.json",
            "items.arrow",
            "manifest.json",
            "rejected.parquet",
            "shards",
            "sources.parquet",
        ]
        return Taken(manifest, folder)

    return take


PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


def finished(taken: Taken) -> Path:
    """A finished folder of a snapshot that was taken."""
    folder = taken.folder.parent / f"{taken.folder.name}-finished"
    shutil.copytree(taken.folder, begin_folder(folder, PROVENANCE), dirs_exist_ok=True)
    finish_folder(folder, "snapshot", SNAPSHOT, PROVENANCE)
    return folder


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_table(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(number: int = 40, **more: object) -> Rows:
    return [{"text": f"text {row}", "label": "ab"[row % 2], **more} for row in range(number)]


def two_classes(number: int = 40) -> dict[str, bytes]:
    return {f"{'ab'[row % 2]}/{row}.bin": b"content %d" % row for row in range(number)}


def png(seed: int, size: int = 8) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (size, size), (seed, seed * 7 % 256, 9)).save(stream, "PNG")
    return stream.getvalue()


# What an item is


def test_properties_of_pictures_that_users_may_not_expect_become_warnings(take, tmp_path):
    files = {f"{'ab'[row % 2]}/{row}.png": png(row) for row in range(20)}
    for row in range(20, 23):
        stream = BytesIO()
        Image.new("RGBA", (8, 8), (row, 0, 0, 99)).save(stream, "PNG")
        files[f"a/{row}.png"] = stream.getvalue()
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = BytesIO()
    Image.new("RGB", (8, 9), "red").save(stream, "JPEG", exif=exif)
    files["b/turned.jpg"] = stream.getvalue()
    warnings = take(write_files(tmp_path / "source", files), modality="image").manifest.warnings
    assert "3 items are transparent in part, and are put on the background of the" in str(warnings)
    assert "1 items have an orientation tag, which is applied" in warnings


def test_items_are_named_and_sorted_by_their_content(tmp_path, take):
    files = two_classes()
    taken = take(write_files(tmp_path / "source", files), modality="bytes")
    assert taken.labels() == {content: name[0] for name, content in files.items()}
    ids = [item["id"] for item in taken.items]
    assert ids == sorted(hashlib.sha256(content).hexdigest() for content in files.values())
    assert {row["path"]: row["id"] for row in taken.sources} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    assert pa.ipc.open_file(str(taken.folder / taken.manifest.shards[0])).schema == ITEM_SCHEMA


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.ndjson", "rows.parquet"])
def test_each_kind_of_table_gives_the_same_snapshot(tmp_path, take, name):
    rows = texts()
    rows[0]["text"] = 'two\nlines, a "quote" and é'
    path = write_table(tmp_path / "source" / name, rows)
    from_file, from_folder = take(path), take(path.parent)
    assert from_file.labels() == {str(row["text"]).encode(): row["label"] for row in rows}
    # Over contents, labels and splits alone, so the same for each kind of table.
    digest = "84aab0178d17c1096923741fbeab55ac29b5cf970d732f58ff0a410b9df94f3f"
    assert from_file.manifest.digest == from_folder.manifest.digest == digest
    assert {row["path"] for row in from_file.sources} == {f"{name}:{n}" for n in range(1, 41)}


def test_digest_is_over_ids_labels_and_splits(tmp_path, take):
    taken = take(write_table(tmp_path / "rows.jsonl", texts()))
    lines = (f'{i["id"]} "{i["label"]}" {i["split"]}\n' for i in taken.items)
    assert taken.manifest.digest == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("seed", range(5))
def test_names_order_times_and_place_change_nothing(tmp_path, take, seed):
    rng = random.Random(seed)  # noqa: S311
    contents = [(rng.choice("abc"), rng.randbytes(rng.randint(1, 400))) for _ in range(200)]
    contents += rng.sample(contents, 20)
    taken = []
    for run in range(2):
        rng.shuffle(contents)
        source = write_files(
            tmp_path / f"{run}",
            {
                f"{label}/{'deeper/' * rng.randint(0, 2)}{rng.random()}": content
                for label, content in contents
            },
        )
        for path in source.rglob("*"):
            os.utime(path, (run, rng.randint(0, 10**9)))
        taken.append(take(source, modality="bytes"))
    assert taken[0].manifest == taken[1].manifest
    assert taken[0].shards() == taken[1].shards()
    assert taken[0].manifest.duplicates == 20


def test_paths_of_a_table_name_files_beside_it(tmp_path, take):
    files = {f"images/{n}.png": png(n) for n in range(10)}
    source = write_files(tmp_path / "source", files)
    rows = [{"path": name, "label": n % 2 == 0} for n, name in enumerate(files)]
    rows[0]["path"] = "images/../images/0.png"
    write_table(source / "items.jsonl", rows)
    taken = take(source)
    assert taken.manifest.modality == "image"
    assert taken.manifest.labels == ("False", "True")
    assert {row["path"] for row in taken.sources} == set(files)


def test_hidden_files_and_files_at_the_top_are_no_items(tmp_path, take):
    source = write_files(tmp_path / "source", two_classes())
    clutter = {".ipynb_checkpoints/x.bin": b"1", "a/.DS_Store": b"2", "b/Thumbs.db": b"3"}
    write_files(source, clutter | {"ATTRIBUTION.txt": b"4", "a/.cache/5": b"5"})
    taken = take(source, modality="bytes", max_rejected_fraction=0)
    assert (taken.manifest.items, taken.rejected) == (40, [])


def test_content_larger_than_a_batch_and_many_shards_come_back(tmp_path, take, monkeypatch):
    monkeypatch.setattr("tfhub_blocks.records.formats.snapshot_writer.BATCH_BYTES", 2000)
    item_writer = "tfhub_blocks.records.formats.snapshot_writer.ItemWriter"
    monkeypatch.setattr(item_writer, lambda folder: ItemWriter(folder, 8000))
    files = {f"{'ab'[n % 2]}/{n}": bytes([n]) * (n * 100 + 1) for n in range(60)}
    taken = take(write_files(tmp_path / "source", files), modality="bytes")
    assert len(taken.manifest.shards) > 10
    assert taken.labels() == {content: name[0] for name, content in files.items()}
    assert [item["id"] for item in taken.items] == sorted(item["id"] for item in taken.items)


# Splits


def test_adding_items_to_an_earlier_snapshot_never_moves_an_old_one(tmp_path, take):
    before = take(write_table(tmp_path / "1.jsonl", texts(200)))
    after = take(write_table(tmp_path / "2.jsonl", texts(400)), previous=finished(before))
    assert before.splits().items() <= after.splits().items()
    assert after.manifest.split_rule["previous"] == before.manifest.digest
    assert sum(after.manifest.counts["test"].values()) == 60


def test_split_never_separates_duplicates(tmp_path, take):
    taken = take(write_table(tmp_path / "rows.jsonl", texts(50) + texts(30)))
    assert (taken.manifest.items, taken.manifest.duplicates, len(taken.sources)) == (50, 30, 80)


def test_salt_and_fractions_decide_the_splits(tmp_path, take):
    path = write_table(tmp_path / "rows.jsonl", texts(400))
    first = take(path, split_salt="one", validation_fraction=0.2, test_fraction=0.1)
    counts = {split: sum(of.values()) for split, of in first.manifest.counts.items()}
    assert counts == {"train": 280, "validation": 80, "test": 40}
    again = take(path, split_salt="two", validation_fraction=0.2, test_fraction=0.1)
    assert first.splits() != again.splits()
    assert counts == {split: sum(of.values()) for split, of in again.manifest.counts.items()}


def test_splits_of_a_table_are_respected(tmp_path, take):
    names = ["train", "val", "valid", "dev", "Validation", "test"]
    rows = texts(36)
    for n, row in enumerate(rows):
        row["split"] = names[n // 2 % 6]
    path = write_table(tmp_path / "rows.csv", rows)
    counts = take(path, respect_splits=True).manifest.counts
    assert counts == {
        "train": {"a": 3, "b": 3},
        "validation": {"a": 12, "b": 12},
        "test": {"a": 3, "b": 3},
    }


def test_splits_of_folders_are_respected_and_a_leak_is_rejected(tmp_path, take):
    files = {f"{s}/{c}/{n}": f"{s}{c}{n}".encode() for s in ("train", "val", "test") for c in "ab"
             for n in range(5)}  # fmt: skip
    leak = {"train/a/leak": b"same", "test/a/leak": b"same", "test/LICENSE": b"text"}
    taken = take(
        write_files(tmp_path / "source", files | leak),
        respect_splits=True,
        modality="bytes",
        max_rejected_fraction=0.1,
    )
    assert taken.splits()[b"valb3"] == "validation"
    assert taken.manifest.items == 30
    reason = "the same content is in several splits (a leak): 'test', 'train'"
    assert taken.reasons() == {"train/a/leak": reason, "test/a/leak": reason}
    assert taken.manifest.split_rule == {"kind": "given"}


# Rejected items


def test_unusable_images_are_rejected_with_their_reasons(tmp_path, take):
    files = {f"{'ab'[n % 2]}/{n}.png": png(n) for n in range(20)}
    bad = {
        "a/cut.png": png(1, 64)[:-30],
        "a/empty.png": b"",
        "a/huge.png": png(1, 200),
        "a/text.png": b"hello",
        "a/document.png": b"%PDF-1.7",
        "b/one.png": b"both" + png(3),
        "both.png": b"not an item",
        "a/both.png": png(99),
        "b/both.png": png(99),
    }
    source = write_files(tmp_path / "source", files | bad)
    (source / "a/gone.png").symlink_to("nothing")
    os.mkfifo(source / "a/pipe.png")
    taken = take(source, max_rejected_fraction=0.5, max_pixels=10_000)
    both = "the same content has several labels: 'a', 'b'"
    assert taken.manifest.rejected == 10
    assert taken.reasons() == {
        "a/both.png": both,
        "a/cut.png": "the image is truncated",
        "a/empty.png": "the item is empty",
        "a/gone.png": "the file does not exist",
        "a/huge.png": "the image has 200 x 200 pixels, more than 10000 pixels",
        "a/pipe.png": "the path is not a plain file",
        "a/text.png": "the file is not an image",
        "a/document.png": "the file is PDF, which encoders do not decode: convert it to JPEG or "
        "PNG",
        "b/both.png": both,
        "b/one.png": "the file is not an image",
    }


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_unusable_rows_are_rejected_with_their_reasons(tmp_path, take, name):
    bad: Rows = [
        {"text": "", "label": "a"},
        {"text": None, "label": "a"},
        {"text": "no label", "label": None},
        {"text": "empty label", "label": " "},
        {"text": "text 0", "label": "b"},
    ]
    taken = take(write_table(tmp_path / name, texts() + bad), max_rejected_fraction=0.5)
    assert taken.reasons() == {
        f"{name}:1": "the same content has several labels: 'a', 'b'",
        f"{name}:41": "the item is empty",
        f"{name}:42": "the text is null",
        f"{name}:43": "the item has no label",
        f"{name}:44": "the label is empty",
        f"{name}:45": "the same content has several labels: 'a', 'b'",
    }
    assert taken.manifest.rejected == 6


def test_text_that_is_not_utf8_is_rejected(tmp_path, take):
    row = b"caf\xe9,a\nfine,\xe9\n"
    lines = "".join(f"{row['text']},{row['label']}\n" for row in texts()).encode()
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbftext,label\n" + row + lines)
    taken = take(tmp_path / "rows.csv", max_rejected_fraction=0.5)
    assert taken.reasons() == {
        "rows.csv:1": "the text is not valid UTF-8",
        "rows.csv:2": "the label is not valid UTF-8",
    }
    column = pa.array([b"caf\xe9", *(row["text"].encode() for row in texts())])
    labels = pa.array(["a", *(row["label"] for row in texts())]).dictionary_encode()
    table = pa.table({"text": column.view(pa.string()), "label": labels})
    pq.write_table(table, tmp_path / "rows.parquet")
    taken = take(tmp_path / "rows.parquet", max_rejected_fraction=0.5)
    assert taken.reasons() == {"rows.parquet:1": "the text is not valid UTF-8"}
    with (tmp_path / "rows.jsonl").open("wb") as file:
        file.write(b'{"text": "caf\xe9", "label": "a"}\n{"text": 5, "label": "a"}\n')
        file.write(b'{"text": "x", "label": 1.5}\n{"text": "one", "label": 1.0}\n')
        file.writelines(b'{"text": "n%d", "label": %d}\n' % (n, n % 2) for n in range(40))
    taken = take(tmp_path / "rows.jsonl", max_rejected_fraction=0.5)
    assert taken.manifest.labels == ("0", "1")
    assert taken.reasons() == {
        "rows.jsonl:1": "the text is not valid UTF-8",
        "rows.jsonl:2": "the text is of type int, not a string",
        "rows.jsonl:3": "the label is of type float, not a string, a whole number or a boolean",
    }


def test_too_many_rejected_items_fail_and_the_first_twenty_are_named(tmp_path, take):
    bad = {f"a/{n:03}.png": b"bad %d" % n for n in range(25)}
    good = {f"b/{n}.png": png(n) for n in range(75)}
    source = write_files(tmp_path / "source", good | bad)
    with pytest.raises(BlocksError) as caught:
        take(source)
    named = "; ".join(f"a/{n:03}.png: the file is not an image" for n in range(20))
    assert str(caught.value) == (
        f"[snapshot_data > max_rejected_fraction] 25 of 100 items cannot be used: {named}; and 5 "
        "more. Expected at most a fraction of 0.01. Fix or remove these items, or set "
        "max_rejected_fraction above 0.01."
    )


# What is refused as a whole


def refused(source: Path, **options) -> str:
    out = source.with_name("refused")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with pytest.raises(BlocksError) as caught:
        take_snapshot(source, out, SnapshotOptions(**options), lambda *_: None)
    assert not list(out.glob("*.spill"))
    return str(caught.value).replace(str(source), "SOURCE")


SOURCE = "[snapshot_data > source] "
A_FOLDER = (
    ". Expected a folder for each class, or one table (.csv, .jsonl, .parquet). Put the files of "
    "each class into a separate folder."
)
COLUMNS = ". Expected the columns path or text, and label"
NO_ROWS = (
    SOURCE + "the table has no rows. Expected a row for each item. Add rows to the table, or pass "
    "another table."
)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, {}, SOURCE + "the folder is empty" + A_FOLDER),
        (
            {"a.jpg": b"1", "b.jpg": b"2", "LICENSE": b"3"},
            {},
            SOURCE
            + "the folder contains 2 .jpg, 1 without extension, but no table and no folders"
            + A_FOLDER,
        ),
        (
            {"a/.hidden": b"1", "b/.hidden": b"1"},
            {},
            SOURCE + "the class folders contain no files. Expected files in the class folders. Put "
            "files into the class folders of SOURCE, or pass another folder.",
        ),
        (
            {"a/1.txt": b"1", "b/1.txt": b"2", "b/2.jpg": b"3"},
            {},
            SOURCE + "modality is auto, but most files have no known extension: 2 .txt, 1 .jpg. "
            "Expected a table with the column text, or files of image (avif, bmp, gif, heic, "
            "heif, jpeg, jpg, png, tif, tiff, webp) or audio (aif, aifc, aiff, au, caf, flac, mp3, "
            "ogg, snd, w64, wav). Set modality to image, audio or bytes.",
        ),
        (
            {"a/1.txt": b"1"},
            {"modality": "text"},
            SOURCE + "the folder contains files, but modality is text. Expected a table with the "
            "columns text and label. Put each text into a row of a CSV, JSON Lines or Parquet "
            "file.",
        ),
        (
            {"train/a/1": b"1", "Test/a/2": b"2"},
            {},
            SOURCE + "the folders have names of splits, not of classes: Test, train. Expected a "
            "folder for each class, or respect_splits with folders split/class. Set respect_splits "
            "to true.",
        ),
        (
            {"train/a/1": b"1", "tset/a/2": b"2"},
            {"respect_splits": True},
            SOURCE + "respect_splits is true, but the folder 'tset' is not a split. Expected "
            "folders split/class with the splits train, validation, test. Rename the folder, or "
            "set respect_splits to false.",
        ),
        (
            {"images/1": b"1", "images/2": b"2", "images/3": b"3"},
            {"modality": "bytes"},
            SOURCE + "the only class is 'images'. Expected two classes or more. Pass a folder that "
            "contains a folder for each class, or a table with two labels or more.",
        ),
        (
            two_classes() | {"c/1": b"1", "c/2": b"2", "d/.keep": b"", "c/3": b"1"},
            {"modality": "bytes"},
            SOURCE + "2 classes with too few items: 'c' (2), 'd' (0). Expected at least 3 "
            "different items in each class. Add items to these classes, or remove the classes from "
            "the source.",
        ),
        (
            {"a.csv": b"text,label", "b.jsonl": b""},
            {},
            SOURCE + "the folder contains 2 tables: a.csv, b.jsonl. Expected one table, or class "
            "folders and no table. Pass the path of one table, or move the other tables out of the "
            "folder.",
        ),
        (
            {"rows.csv": b"Txt,Labels\n1,2\n"},
            {},
            SOURCE + "the table rows.csv has no column text or path; its columns are Txt, Labels"
            f"{COLUMNS}. Did you mean 'Txt'?",
        ),
        (
            {"rows.csv": b"text,LABEL,n\n1,2,3\n"},
            {},
            SOURCE + "the table rows.csv has no column label; its columns are text, LABEL, n"
            f"{COLUMNS}. Set label_column to LABEL.",
        ),
        (
            {"rows.csv": b"text;label\n1;2\n"},
            {},
            SOURCE + "the table rows.csv has no column text or path; its columns are text;label"
            f"{COLUMNS}. Separate the columns by commas.",
        ),
        (
            {"rows.csv": b"text,label\n1,2\n"},
            {"respect_splits": True},
            SOURCE + "the table rows.csv has no column split; its columns are text, label"
            f"{COLUMNS}, and split. Add the column split, or rename a column.",
        ),
        (
            {"rows.csv": b'text,label\n\n"two\nlines",a\n1,2,3\n'},
            {},
            SOURCE + "the table rows.csv has 3 fields in line 5. Expected 2, as in its header. "
            "Correct rows.csv.",
        ),
        (
            {"rows.csv": b'text,label\n1,a\n"never closed,b\n3,c\n'},
            {},
            SOURCE + "the table rows.csv is malformed in line 3: unexpected end of data. Expected "
            "CSV. Correct rows.csv.",
        ),
        (
            {"rows.csv": b""},
            {},
            SOURCE + "the table rows.csv is empty. Expected a header and rows. Correct rows.csv.",
        ),
        (
            {"rows.csv": b"text,label,text\n"},
            {},
            SOURCE + "the table rows.csv has the column 'text' twice. Expected each column once. "
            "Correct rows.csv.",
        ),
        (
            {"rows.csv": "text,label\n1,a\n".encode("utf-16")},
            {},
            SOURCE
            + "the table rows.csv is UTF-16. Expected UTF-8. Run `iconv -f UTF-16LE -t UTF-8`, or "
            "save rows.csv as UTF-8.",
        ),
        ({"rows.csv": b"text,label\n"}, {}, NO_ROWS),
        ({"rows.csv": b"path,label\n"}, {}, NO_ROWS),
        (
            {"rows.jsonl": b'{"text": "1", "label": 1}\n{"text": \n'},
            {},
            SOURCE + "the table rows.jsonl is malformed in line 2: Expecting value: line 2 column "
            "1 (char 10). Expected one JSON object in each line. Correct rows.jsonl.",
        ),
        (
            {"rows.jsonl": b'{"text": "1", "label": 1}\n\n[1]\n'},
            {},
            SOURCE + "the table rows.jsonl has no object in line 3. Expected one JSON object in "
            "each line. Correct rows.jsonl.",
        ),
        (
            {"rows.parquet": b"PAR1 and no more of it"},
            {},
            SOURCE + "the table rows.parquet cannot be read: Parquet magic bytes not found in "
            "footer. Either the file is corrupted or this is not a parquet file. Expected a "
            "complete Parquet file. Correct rows.parquet.",
        ),
        (
            {"rows.csv": b"text,label,split\nx,a,train\ny,b,tset\n"},
            {"respect_splits": True},
            SOURCE + "row 2 of rows.csv has the split 'tset'. Expected one of train, validation, "
            "test. Correct this row, or set respect_splits to false.",
        ),
        (
            {"rows.csv": b"path,label\na/../../b.png,a\n"},
            {},
            SOURCE + "rows.csv:1 has the path 'a/../../b.png', which leaves the table's folder. "
            "Expected paths relative to the table's folder, and inside it. Move the files into the "
            "table's folder, and write their paths relative to it.",
        ),
        (
            {"rows.csv": b"path,label\n/etc/passwd.png,a\n"},
            {},
            SOURCE + "rows.csv:1 has the path '/etc/passwd.png', which leaves the table's folder. "
            "Expected paths relative to the table's folder, and inside it. Move the files into the "
            "table's folder, and write their paths relative to it.",
        ),
    ],
)
def test_source_that_cannot_be_a_data_set_is_refused(tmp_path, files, options, message):
    assert refused(write_files(tmp_path / "source", files), **options) == message


def test_missing_source_is_refused(tmp_path):
    expected = (
        ". Expected a folder, or a table (.csv, .jsonl, .parquet). Pass the path of a folder or of "
        "a table."
    )
    assert refused(tmp_path / "source") == SOURCE + "'SOURCE' does not exist" + expected
    (tmp_path / "source.txt").write_text("text")
    assert refused(tmp_path / "source.txt") == (
        SOURCE + "'SOURCE' is a file, but not a table" + expected
    )


def test_link_to_a_folder_is_refused(tmp_path):
    source = write_files(tmp_path / "source", two_classes())
    (source / "a/loop").symlink_to(source)
    assert refused(source, modality="bytes") == (
        SOURCE + "'a/loop' is a link to a folder. Expected folders without links to other folders. "
        "Replace the link by the folder."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"modality": "video"},
            "modality] 'video' is not allowed. Set modality to one of auto, image, text, audio, "
            "bytes.",
        ),
        (
            {"validation_fraction": -0.1},
            "validation_fraction] -0.1 is not allowed. Set validation_fraction to a value from 0 "
            "to 1.",
        ),
        (
            {"test_fraction": float("nan")},
            "test_fraction] nan is not allowed. Set test_fraction to a value from 0 to 1.",
        ),
        (
            {"max_rejected_fraction": 5},
            "max_rejected_fraction] 5 is not allowed. Set max_rejected_fraction to a value from 0 "
            "to 1.",
        ),
        (
            {"validation_fraction": 0.5, "test_fraction": 0.5},
            "validation_fraction] 0.5 and test_fraction 0.5 leave no items for training. Expected "
            "a sum below 1. Set smaller values for validation_fraction and test_fraction.",
        ),
        (
            {"max_pixels": 0},
            "max_pixels] 0 is not allowed. Set max_pixels to 1 or more.",
        ),
    ],
)
def test_option_outside_its_range_is_refused(options, message):
    with pytest.raises(BlocksError) as caught:
        SnapshotOptions(**options)
    assert str(caught.value) == f"[snapshot_data > {message}"


# Warnings


def test_labels_that_are_nearly_equal_are_warned_of(tmp_path, take):
    labels = ["hot dog", "Hot dog", "hot dog ", "cat"]
    rows = [{"text": f"{n}", "label": labels[n % 4]} for n in range(200)]
    assert take(write_table(tmp_path / "rows.parquet", rows)).manifest.warnings == (
        "the labels 'Hot dog', 'hot dog', 'hot dog ' differ only in case or white space: use one "
        "label if they mean one class",
    )


def test_split_without_some_class_is_warned_of(tmp_path, take):
    rows = texts() + [{"text": f"rare {n}", "label": "rare"} for n in range(3)]
    rows = [{**row, "n": number} for number, row in enumerate(rows)]
    path = write_table(tmp_path / "rows.jsonl", rows)
    taken = take(path, near_duplicates="off")
    assert {split: of["rare"] for split, of in taken.manifest.counts.items()} == {
        "train": 1,
        "validation": 1,
        "test": 1,
    }
    for row in rows:
        row["split"] = "train" if row["label"] == "rare" else ["train", "val", "test"][row["n"] % 3]
    given = take(write_table(tmp_path / "given.jsonl", rows), respect_splits=True)
    assert given.manifest.warnings == (
        "the split validation has no item of the class 'rare': add items to this split",
        "the split test has no item of the class 'rare': add items to this split",
    )


def test_split_without_items_and_column_not_used_are_warned_of(tmp_path, take):
    path = write_table(tmp_path / "rows.csv", texts(split="train"))
    assert take(path, respect_splits=True).manifest.warnings == (
        "the split test has no items: add items to this split",
        "the source has no validation split: validation items were drawn from train",
    )
    assert take(path).manifest.warnings == (
        "the column split of the table is ignored: set respect_splits to true to use it",
    )


# Cost


SIGNED = "https://ours.blob.core.windows.net/pictures/1.png?sv=2024-01-01&sig=INVENTED%2Fabcdefgh"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_credential_in_a_path_or_a_label_reaches_no_record(tmp_path, take, capfd, suffix):
    secrets = [SIGNED, "https://me:INVENTED-pw@host/1.png", f"azureml:{SIGNED}"]
    rows = [{"path": it, "label": "a"} for it in secrets]
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(png(number))
        rows.append({"path": f"{number}.png", "label": "ab"[number % 2]})
    rows[-1]["label"] = "token=INVENTED-token-of-theirs"
    table = write_table(tmp_path / f"table{suffix}", rows)
    (tmp_path / "ATTRIBUTION.txt").write_text(f"Pictures from {SIGNED}")
    taken = take(table, max_rejected_fraction=0.9)
    assert taken.manifest.rejected == 4
    assert set(taken.reasons().values()) == {
        "the path contains a credential",
        "the label contains a credential",
    }
    assert "https://ours.blob.core.windows.net/pictures/1.png?sv=***" in "".join(taken.reasons())
    kept = b"".join(it.read_bytes() for it in taken.folder.rglob("*") if it.is_file())
    told = "".join(capfd.readouterr()).encode()
    assert b"INVENTED" not in kept + told
    assert "INVENTED" not in str(taken.rejected) + str(taken.sources) + str(taken.manifest)


def test_credential_in_the_name_of_a_downloaded_file_reaches_no_record(tmp_path, take):
    """As wget names a file after its address."""
    for number in range(20):
        folder = tmp_path / "source" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png?sv=1&sig=INVENTED%2F{number}.png").write_bytes(png(number))
    taken = take(tmp_path / "source")
    assert taken.manifest.items == 20
    assert "INVENTED" not in str(taken.sources)


def test_progress_counts_items(tmp_path):
    source = write_files(tmp_path / "source", two_classes(200))
    (tmp_path / "out").mkdir()
    seen: list[tuple[int, int | None]] = []
    options = SnapshotOptions(modality="bytes")
    take_snapshot(source, tmp_path / "out", options, lambda *done: seen.append(done))
    assert seen == [(64, 200), (128, 200), (192, 200), (200, 200)]


MEASURE = """
import sys
from pathlib import Path
from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot
folder = Path(sys.argv[2])
folder.mkdir()
manifest = take_snapshot(Path(sys.argv[1]), folder, SnapshotOptions(), lambda *_: None)
# Not ru_maxrss, which begins at what the process that started this one had.
status = Path("/proc/self/status").read_text()
print(manifest.items, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def write_large_table(path: Path, rows: int) -> Path:
    """A table of texts of 1 kB, in the format that the path's name ends with."""
    path.parent.mkdir(exist_ok=True)
    filler = "x" * 990
    if path.suffix == ".parquet":
        schema = pa.schema([("text", pa.string()), ("label", pa.string())])
        # One row group that is not compressed, as large as pandas would make it.
        table = pa.table(
            [[f"{n:010}{filler}" for n in range(rows)], ["ab"[n % 2] for n in range(rows)]],
            schema=schema,
        )
        pq.write_table(table, path, compression="none", use_dictionary=False, row_group_size=rows)
    else:
        with path.open("w") as file:
            line = '{{"text": "{n:010}{x}", "label": "{c}"}}\n'
            if path.suffix == ".csv":
                file.write("text,label\n")
                line = "{n:010}{x},{c}\n"
            file.writelines(line.format(n=n, x=filler, c="ab"[n % 2]) for n in range(rows))
    return path


def snapshot_in_a_process(path: Path) -> tuple[int, int]:
    """How many items a table gave, and the process's peak memory in MiB."""
    command = [sys.executable, "-c", MEASURE, str(path), str(path.parent / "out")]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    items, peak_mib = map(int, run.stdout.split())
    return items, peak_mib


@pytest.mark.parametrize("name", ["rows.parquet", pytest.param("rows.csv", marks=pytest.mark.slow)])
def test_memory_does_not_hold_the_contents(tmp_path, name):
    few, peak_for_few_mib = snapshot_in_a_process(write_large_table(tmp_path / "few" / name, 5_000))
    large = [write_large_table(tmp_path / f"many{run}" / name, 100_000) for run in range(2)]
    many, peaks_mib = zip(*map(snapshot_in_a_process, large), strict=True)
    # Buffers of several threads vary by 40 MiB between runs; held contents would be in each.
    peak_mib = min(peaks_mib)
    assert (few, set(many)) == (5_000, {100_000})
    # 95,000 rows more weigh 91 MiB; numbers about them, and buffers that reach their size, less.
    assert peak_mib - peak_for_few_mib < 70


@pytest.mark.soak
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_million_rows_stay_under_500_mib(tmp_path, name):
    """How long it takes is measured by tests/benchmarks/bench_snapshots.py."""
    items, peak_mib = snapshot_in_a_process(write_large_table(tmp_path / name, 1_000_000))
    print(f"{name}: {peak_mib} MiB")
    assert items == 1_000_000
    assert peak_mib < 500


# Near duplicates, groups, and an earlier snapshot


def burst(scene: int, crop: int, size: int = 120) -> bytes:
    """One of several nearly equal crops of a picture of coarse noise."""
    coarse = np.random.default_rng(scene).integers(0, 255, (10, 10, 3)).astype(np.uint8)
    pixels = np.kron(coarse, np.ones((13, 13, 1), np.uint8))[crop : size + crop, crop : size + crop]
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92 - 3 * crop)
    return stream.getvalue()


def bursts(scenes: int) -> dict[str, bytes]:
    return {f"{'ab'[s % 2]}/s{s}-{c}.jpg": burst(s, c) for s in range(scenes) for c in range(4)}


def variants(number: int) -> Rows:
    lots = random.Random(6)  # noqa: S311
    words = [f"word{n}" for n in range(400)]
    rows = []
    for n in range(number):
        text = " ".join(lots.sample(words, 8))
        for variant in (text, text.upper(), text + "  !", "Re: " + text):
            rows.append({"text": variant, "label": "ab"[n % 2], "topic": n})
    return rows


def sides_of(taken: Taken, name_of) -> dict[str, set[str]]:
    splits = {item["id"]: item["split"] for item in taken.items}
    found: dict[str, set[str]] = {}
    for row in taken.sources:
        found.setdefault(name_of(row["path"]), set()).add(splits[row["id"]])
    return found


def test_near_duplicate_pictures_are_in_one_split(tmp_path, take):
    source = write_files(tmp_path / "source", bursts(20))
    taken = take(source)
    sides = sides_of(taken, lambda path: path.split("-")[0])
    assert len(sides) == 20
    assert all(len(splits) == 1 for splits in sides.values())
    assert taken.manifest.warnings == (
        "80 items are near duplicates of others, in 20 groups: each group is in one split",
    )


def test_near_duplicate_texts_are_in_one_split(tmp_path, take):
    rows = variants(30)
    taken = take(write_table(tmp_path / "rows.jsonl", rows))
    sides = sides_of(taken, lambda path: rows[int(path.partition(":")[2]) - 1]["topic"])
    assert all(len(splits) == 1 for splits in sides.values())
    assert len(sides) == 30


def test_near_duplicate_texts_without_spaces_are_in_one_split(tmp_path, take):
    """Each letter of a script that puts no space between words counts as a word."""
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))
    rng, rows = random.Random(0), []  # noqa: S311
    for number in range(40):
        text = "".join(rng.choices(letters, k=60))
        edited = f"{text[:30]}的{text[31:]}。"
        rows += [(it, "even" if number % 2 else "odd") for it in (text, edited)]
    path = tmp_path / "texts.parquet"
    texts, labels = zip(*rows, strict=True)
    pq.write_table(pa.table({"text": texts, "label": labels}), path)
    splits = take(path).splits()
    for first, second in zip(texts[::2], texts[1::2], strict=True):
        assert splits[first.encode()] == splits[second.encode()]


def test_templates_are_no_near_duplicates(tmp_path, take):
    filler = " of one long form letter that everybody gets in the same words every week"
    rows = [{"text": f"{n}{filler}", "label": "ab"[n % 2]} for n in range(60)]
    taken = take(write_table(tmp_path / "rows.jsonl", rows))
    assert "60 items resemble each other in chains" in taken.manifest.warnings[0]
    assert all(taken.manifest.counts[split]["a"] for split in taken.manifest.counts)


def test_near_duplicates_across_given_splits_are_twins(folder_of_twins, take):
    taken = take(folder_of_twins, respect_splits=True)
    twins = pq.read_table(taken.folder / "twins.parquet").to_pylist()
    splits = {item["id"]: item["split"] for item in taken.items}
    assert len(twins) == 6
    assert {(splits[row["id"]], splits[row["twin"]]) for row in twins} == {("test", "train")}
    assert taken.manifest.warnings[-1] == (
        "6 test items have a near duplicate in training or validation: evaluate checks thresholds "
        "without them"
    )


def test_a_derived_snapshot_finds_twins_by_its_own_splits(tmp_path, take):
    files = {f"{'ab'[n % 2]}/{n}-{crop}.jpg": burst(n, crop) for n in range(24) for crop in (0, 1)}
    taken = take(write_files(tmp_path / "bursts", files))
    whole = open_snapshot(finished(taken), "test")
    assert not whole.twins()
    assert taken.manifest.warnings == (
        "48 items are near duplicates of others, in 24 groups: each group is in one split",
    )
    items = list(whole.items())
    moved = [replace(it, split="test" if n % 4 == 0 else it.split) for n, it in enumerate(items)]
    folder = begin_folder(tmp_path / "derived", PROVENANCE)
    manifest = write_snapshot(folder, moved, like=whole)
    finish_folder(tmp_path / "derived", "kept", SNAPSHOT, PROVENANCE)
    derived = open_snapshot(tmp_path / "derived", "test")
    groups = dict(
        pq.read_table(taken.folder / "near_duplicates.parquet").to_pandas().itertuples(index=False)
    )
    learned = {groups[it.id] for it in moved if it.split != "test"}
    expected = {it.id for it in moved if it.split == "test" and groups[it.id] in learned}
    assert derived.twins() == expected != set()
    assert manifest.warnings[0] == "48 items are near duplicates of others, in 24 groups"
    assert manifest.warnings[1].startswith(f"{len(expected)} test items have a near duplicate")
    # Of what was derived, another one can be derived.
    again = begin_folder(tmp_path / "again", PROVENANCE)
    back = write_snapshot(again, items, like=derived)
    assert not (again / "twins.parquet").exists()
    assert back.warnings == manifest.warnings[:1]


@pytest.fixture
def folder_of_twins(tmp_path):
    files = {}
    for scene in range(24):
        split = ("train", "val")[scene % 4 == 3]
        files[f"{split}/{'ab'[scene % 2]}/{scene}.jpg"] = burst(scene, 0)
    for scene in (0, 1, 2, 4, 5, 6):
        files[f"test/{'ab'[scene % 2]}/twin{scene}.jpg"] = burst(scene, 1)
    for scene in range(30, 36):
        files[f"test/{'ab'[scene % 2]}/{scene}.jpg"] = burst(scene, 0)
    return write_files(tmp_path / "twins", files)


def test_new_twin_of_a_training_and_a_test_item_is_left_out(tmp_path, take):
    """The bridge is nearly equal to an item of either side, which are not nearly equal."""
    words = [f"w{n}" for n in range(40)]
    one, other = words[:32], words[8:40]
    texts_ = [" ".join(one), " ".join(other)]
    fill = [f"alpha{n} beta{n} gamma{n} delta{n}" for n in range(38)]
    rows = [{"text": t, "label": "ab"[n % 2]} for n, t in enumerate([*texts_, *fill])]
    rows[1]["label"] = "a"
    for row, split in zip(rows, ["train", "test"] + ["train", "val", "test"] * 13, strict=False):
        row["split"] = split
    before = take(write_table(tmp_path / "1.jsonl", rows), respect_splits=True)
    bridge = {"text": " ".join(words[4:36]), "label": "a", "split": ""}
    after = take(write_table(tmp_path / "2.jsonl", [*rows, bridge]), previous=finished(before),
                 max_rejected_fraction=0.1)  # fmt: skip
    (reason,) = after.reasons().values()
    assert "belongs to both a training item and a test item" in reason
    assert before.splits() == after.splits()
    assert "1 items were left out" in after.manifest.warnings[-1]


@pytest.mark.parametrize(
    "group_by", ["folder", r"pattern:patient\d+", "column:patient"], ids=lambda it: it[:6]
)
def test_groups_are_in_one_split(group_by, tmp_path, take):
    if group_by.startswith("column"):
        rows = [{"text": f"item {n}", "label": "ab"[n % 2], "patient": n // 4} for n in range(120)]
        source = write_table(tmp_path / "rows.csv", rows)

        def name_of(path: str) -> str:
            return str((int(path.partition(":")[2]) - 1) // 4)

    else:
        names = [f"{'ab'[n % 2]}/patient{n // 8}-{'ab'[n % 2]}/{n}.bin" for n in range(120)]
        source = write_files(tmp_path / "s", {name: name.encode() for name in names})

        def name_of(path: str) -> str:
            part = path.split("/")[1]
            return part if group_by == "folder" else part[:-2]

    taken = take(source, modality="auto" if "col" in group_by else "bytes", group_by=group_by)
    sides = sides_of(taken, name_of)
    assert len(sides) >= 15
    assert all(len(splits) == 1 for splits in sides.values())


@pytest.mark.parametrize("rule", ["patient", "column:", "pattern:", "pattern:("])
def test_rule_of_groups_that_is_none_is_refused(rule):
    with pytest.raises(BlocksError, match=r"snapshot_data > group_by.*Set group_by to column:NAME"):
        SnapshotOptions(group_by=rule)


def test_given_splits_without_training_items_of_a_class_are_refused(tmp_path, take):
    rows = [{**row, "split": ["train", "val", "test"][n // 2 % 3]} for n, row in enumerate(texts())]
    rows += [{"text": f"rare {n}", "label": "rare", "split": "test"} for n in range(4)]
    with pytest.raises(BlocksError, match="the split train has no item of the class 'rare'"):
        take(write_table(tmp_path / "rows.jsonl", rows), respect_splits=True)


def test_too_few_test_items_for_the_thresholds_are_refused(tmp_path, take):
    path = write_table(tmp_path / "rows.jsonl", texts())
    with pytest.raises(BlocksError, match=r"the test split has 6 items, fewer than 20.*test_frac"):
        take(path, min_test_items=20)
    take(path, min_test_items=6, min_class_test_items=3)
    with pytest.raises(BlocksError, match="fewer than 4 items of 'a', 'b'"):
        take(path, min_class_test_items=4)


def test_labels_are_in_another_column(tmp_path, take):
    rows = [{"text": row["text"], "species": row["label"]} for row in texts()]
    assert take(write_table(tmp_path / "r.csv", rows), label_column="species").manifest.items == 40
