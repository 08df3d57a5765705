"""Sources that mean something else than they seem to: each is refused or named, none in silence."""

import json
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from tfhub_blocks.compute.data.data_inspections import inspect_source
from tfhub_blocks.compute.data.snapshot_options import SnapshotOptions
from tfhub_blocks.compute.data.snapshot_writing import take_snapshot
from tfhub_blocks.compute.data.split_names import split_of
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.inspections import DataInspection, total


def png(seed: int, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def tree(root: Path, *folders: str, each: int = 8, extension: str = ".png") -> Path:
    """A folder of noise pictures: so many in each of some folders."""
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            (root / folder / f"{index}{extension}").write_bytes(png(1000 * number + index))
    return root


def csv(root: Path, *rows: str, header: str = "text,label", name: str = "rows.csv") -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root


def labelled(*labels: str, number: int = 60) -> list[str]:
    return [f'text {n} word{n * 7} of{n * 3},"{labels[n % len(labels)]}"' for n in range(number)]


def inspected(source: Path, **options: object) -> DataInspection:
    found = inspect_source(source, SnapshotOptions(**options), lambda *_: None)
    places = found.items + found.copies + total(found.rejected)
    # None vanishes.
    if found.rows is None:
        assert found.files == places + total(found.others)
        files = [path for path in source.rglob("*") if path.is_file() or path.is_symlink()]
        assert found.files == len(files)
    else:
        assert found.rows == places
    return found


def texts(found: DataInspection) -> str:
    return "\n".join(f"{each.level} {each.kind} {each.text}" for each in found.findings)


# Names and structures that mean splits


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            "train Training training_set TrainingSet train2017 trainset traindata trn 1_train",
        ),
        ("validation", "val valid validation_set val_images dev devel Eval evaluation tuning"),
        (
            "test",
            "test testing test_set TestSet hold-out holdout HoldOut held_out unseen test_batch",
        ),
        (None, "cat trainer station testament valley invalid images evaluator latest contest te_x"),
    ],
)
def test_names_of_splits_are_known_in_any_wording(split, names):
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


@pytest.mark.parametrize(
    "splits",
    [
        ("training_set", "test_set"),
        ("training", "validation", "testing"),
        ("TRAIN", "DEV", "HOLDOUT"),
        ("train2017", "val2017"),
        ("train-images", "eval-images", "held_out"),
        ("Train", "Test", "extra"),
    ],
    ids="-".join,
)
def test_folders_of_splits_are_refused_with_a_remedy_that_works(tmp_path, splits):
    source = tree(tmp_path / "s", *(f"{s}/{c}" for s in splits for c in ("cat", "dog")))
    found = inspected(source)
    (fault,) = found.of_level("fault")
    assert "the folders have names of splits, not of classes" in fault.problem
    assert fault.typed == ("--set respect_splits=true",)
    with pytest.raises(BlocksError, match="names of splits"):
        take_snapshot(source, _empty(tmp_path / "o"), SnapshotOptions(), lambda *_: None)
    if "extra" in splits:
        (source / "extra").rename(tmp_path / "extra")
    again = inspected(source, respect_splits=True)
    assert again.is_usable, texts(again)
    assert again.labels == ("cat", "dog")


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_folders_of_the_same_sub_folders_are_named(tmp_path):
    tops = ("site_a", "site_b", "site_c")
    found = inspected(tree(tmp_path / "s", *(f"{s}/{c}" for s in tops for c in ("cat", "dog"))))
    assert "warning nested-folders most folders have the same sub-folders (cat, dog)" in texts(
        found
    )
    assert found.is_usable


def test_one_folder_around_the_classes_is_refused(tmp_path):
    found = inspected(tree(tmp_path / "s", "data/cat", "data/dog"))
    assert "the only class is 'data': one folder is around 2 others (cat, dog)" in texts(found)
    assert "Pass the folder 'data' inside the source as the source" in texts(found)


def test_sub_folders_of_one_class_are_a_note(tmp_path):
    found = inspected(tree(tmp_path / "s", "cat/one", "cat/two", "dog/three", "dog/four"))
    assert [each.kind for each in found.of_level("note")] == ["nested-folders"]


def test_files_in_no_class_folder_are_counted_and_named(tmp_path):
    source = tree(tmp_path / "s", "cat", "dog", ".", each=10)
    for name in ("LICENSE", ".DS_Store", "ATTRIBUTION.txt"):
        (source / name).write_text("text")
    tree(source, ".cache/deep", each=3)
    found = inspected(source)
    assert "10 files at the top of the source are in no class folder and are left out" in texts(
        found
    )
    assert {fate.reason: fate.count for fate in found.others} == {
        "the file is in no class folder": 11,
        "the file is the attribution of the source": 1,
        "hidden files and files of the system are no items": 4,
    }


def test_flat_folder_of_a_split_is_named(tmp_path):
    folders = [f"{s}/{c}" for s in ("train", "val") for c in ("cat", "dog")]
    found = inspected(tree(tmp_path / "s", *folders, "test"), respect_splits=True)
    assert "8 files in 'test' are in no class folder" in texts(found)
    assert "the split test has no items" in texts(found)


def test_validation_is_drawn_where_the_source_has_none(tmp_path):
    folders = [f"{s}/{c}" for s in ("train", "test") for c in ("cat", "dog")]
    found = inspected(tree(tmp_path / "s", *folders), respect_splits=True)
    assert found.is_usable
    assert sum(found.counts["validation"].values()) == 2
    none = inspected(tmp_path / "s", respect_splits=True, validation_fraction=0.0)
    assert "fault validation_fraction" in texts(none) or "fault layout" in texts(none)
    assert "the split validation has no items" in texts(none)


def test_all_faults_are_reported_at_once(tmp_path):
    source = csv(
        tmp_path / "s", *labelled("a", "b"), "rare,c", "null,", "null2,", header="text,label"
    )
    found = inspected(source, min_test_items=500)
    assert len(found.of_level("fault")) == 3
    assert "2 of 63 items cannot be used" in texts(found)
    assert "1 class with too few items: 'c' (1)" in texts(found)
    assert "the test split has" in texts(found)


# Labels


def _mixed() -> list[str]:
    return [f"first {n} w{n},{n % 3}" for n in range(30)] + [
        f"second {n} v{n},{float(n % 3)}" for n in range(30)
    ]


LABELS = {
    "null-like": (labelled("good", "bad", "nan", "None", "N/A"), "labels-null-like", "'N/A'"),
    "joined": (_mixed(), "labels-differ-in-form", "joins the classes '0', '1', '2'"),
    "case": (labelled("Hot dog", "hot dog", "cat"), "labels-differ-in-form", "case or white space"),
    "separators": (labelled("hot_dog", "hot-dog", "cat"), "labels-differ-in-form", "separators"),
    "nfc": (labelled("caf\u00e9", "cafe\u0301", "cat"), "labels-differ-in-form", "NFC, NFD"),
    "numbers": (labelled("1", "01", "x"), "labels-differ-in-form", "how a number is written"),
    "semicolons": (labelled("cat;dog", "dog", "cat;bird"), "several-labels", "column label"),
    "bars": (labelled("a|b", "b|c", "a|c", "c"), "several-labels", "(multi-label data)"),
    "lists": (labelled("['cat', 'dog']", "['cat']", "['dog']"), "several-labels", "one label in"),
    "numpy": (labelled("[0 1 1]", "[1 0 0]", "[0 1 0]"), "several-labels", "(multi-label data)"),
    "measured": (
        [f"text {n} w{n},{n * 0.37:.2f}" for n in range(200)], "regression-target", "0 to 73.63"
    ),
    "ages": (labelled(*map(str, range(18, 48)), number=300), "regression-target", "18 to 47"),
    "split column": (
        [f"text {n} w{n},{'ab'[n % 2]},train" for n in range(40)], "split-names", "column subset"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_mean_something_else_are_named(tmp_path, name):
    rows, kind, part = LABELS[name]
    header = "text,label,subset" if name == "split column" else "text,label"
    found = inspected(csv(tmp_path / "s", *rows, header=header))
    (finding,) = [each for each in found.findings if each.kind == kind and each.level != "note"]
    assert part in f"{finding.text} {finding.what}"
    is_refused = any(each.level == "fault" for each in found.findings)
    assert is_refused == (name == "measured"), texts(found)


@pytest.mark.parametrize(
    "labels",
    [
        ("cat", "dog"),
        ("1", "2", "3"),
        tuple(map(str, range(30))),
        ("rock & roll", "jazz"),
        ("New York, NY", "Austin, TX"),
        ("1.5", "2.0", "2.5"),
        ("and/or", "xor"),
        ("no", "yes"),
        ("C", "C++", "C#"),
        ("Na", "K"),
    ],
    ids=lambda labels: labels[0],
)
def test_ordinary_labels_raise_no_finding(tmp_path, labels):
    found = inspected(csv(tmp_path / "s", *labelled(*labels, number=8 * len(labels))))
    kinds = {each.kind for each in found.findings} - {"near-duplicates"}
    assert kinds == ({"labels-null-like"} if "Na" in labels else set())


def test_missing_label_gives_the_same_classes_in_each_format(tmp_path):
    labels = [None if n == 5 else n % 3 for n in range(120)]
    rows = [f"message {n} w{n},{'' if x is None else float(x)}" for n, x in enumerate(labels)]
    in_csv = inspected(csv(tmp_path / "csv", *rows))
    table = {
        "text": [f"message {n} w{n}" for n in range(120)],
        "label": pa.array([x if x is None else float(x) for x in labels], pa.float64()),
    }
    (tmp_path / "parquet").mkdir()
    pq.write_table(pa.table(table), tmp_path / "parquet/rows.parquet")
    in_parquet = inspected(tmp_path / "parquet")
    assert in_csv.counts == in_parquet.counts
    assert in_csv.labels == ("0", "1", "2")
    assert total(in_csv.rejected) == total(in_parquet.rejected) == 1


def test_types_of_labels_that_are_none_are_named(tmp_path):
    for name, value, part in (("list", ["a"], "lists of labels"), ("float", 0.5, "fractions")):
        (tmp_path / name).mkdir()
        rows = [json.dumps({"text": f"t{n} w{n}", "label": value}) for n in range(20)]
        (tmp_path / name / "rows.jsonl").write_text("\n".join(rows))
        found = inspected(tmp_path / name)
        assert part in texts(found)
        assert not found.is_usable


# Tables


TABLES = {
    "no header": (
        {"rows.csv": "images/1.png,0\nimages/2.png,1\n"},
        "the first line is a row, not a header. ", "such as path,label",
    ),
    "label column": (
        {"rows.csv": "text,category\nx,a\n"}, "has no column label", "Set label_column to category"
    ),
    "text column": (
        {"rows.csv": "review,label\nx,a\n"}, "has no column text or path",
        "Rename the column review to text",
    ),
    "multi-hot": (
        {"rows.csv": "path,cat,dog\na.png,1,0\nb.png,1,1\n"},
        "the columns cat, dog are labels of 0 and 1 (multi-label data)", "into a column label",
    ),
    "pointer": (
        {"rows.csv": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"},
        "is a Git LFS pointer", "git lfs pull",
    ),
    "imagenet list": (
        {"train.txt": "n01440764/a.JPEG 0\nn01440764/b.JPEG 0\n"}, "no table and no folders",
        "write the list as a CSV file with the header path,label",
    ),
    "semicolons": ({"rows.csv": "text;label\n1;2\n"}, "text;label", "Separate the columns by"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_table_that_cannot_be_read_is_refused_with_what_was_meant(tmp_path, name):
    files, problem, remedy = TABLES[name]
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    (fault,) = inspected(tmp_path).of_level("fault")
    assert problem.rstrip(". ") in fault.problem
    assert remedy in fault.remedy


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_wide_encodings_are_named_with_and_without_a_mark(tmp_path, encoding, suffix):
    text = "text,label\nx,a\n" if suffix == ".csv" else '{"text": "x", "label": "a"}\n'
    (tmp_path / f"rows{suffix}").write_bytes(text.encode(encoding))
    (fault,) = inspected(tmp_path).of_level("fault")
    assert f"is {encoding[:6].upper()}" in fault.problem
    assert "iconv -f UTF-" in fault.remedy
    assert ("without a byte-order mark" in fault.problem) == (encoding[6:] != "")


def test_latin_1_is_named(tmp_path):
    rows = "".join(f"caf\xe9 {n} w{n},{'ab'[n % 2]}\n" for n in range(20))
    (tmp_path / "rows.csv").write_bytes(f"text,label\n{rows}".encode("latin-1"))
    assert "if the table is in Latin-1, run `iconv -f WINDOWS-1252" in texts(inspected(tmp_path))


def test_rows_that_name_no_file_are_rejected_with_the_reason(tmp_path):
    tree(tmp_path / "s", "a", each=30)
    tree(tmp_path / "s", "unused", each=2)
    paths = [f"a/{n}.png" for n in range(30)]
    bad = {
        "https://example.org/a.png": "the path is an address (https:)",
        "s3://bucket/a.png": "the path is an address (s3:)",
        "data:image/png;base64,AAAA": "the path is an address (data:)",
        "a\\1.png": "the path has backslashes",
        "C:\\pictures\\1.png": "the path is one of Windows",
        "a/missing.png": "the file does not exist",
    }
    rows = [f'"{path}",{"xy"[n % 2]}' for n, path in enumerate([*paths, *bad])]
    found = inspected(csv(tmp_path / "s", *rows, header="path,label"), max_rejected_fraction=0.5)
    reasons = " ".join(fate.reason for fate in found.rejected)
    assert all(reason in reasons for reason in bad.values())
    assert {fate.reason: fate.count for fate in found.others} == {
        "no row of the table names the file": 2
    }
    assert found.files == 33
    page = tmp_path / "page.html"
    options = SnapshotOptions(max_rejected_fraction=0.5)
    of_table = inspect_source(tmp_path / "s/rows.csv", options, lambda *_: None, page)
    assert (of_table.items, of_table.others) == (found.items, ())
    assert page.read_text().count("data:image/png") >= 4


def test_credential_in_the_name_of_a_file_reaches_no_report(tmp_path):
    source = tree(tmp_path / "s", "a", "b", ".")
    for folder in ("a", ".", ".hidden"):
        (source / folder).mkdir(exist_ok=True)
        (source / folder / "x.png?sv=1&sig=INVENTED%2F.png").write_bytes(png(99))
    page = tmp_path / "page.html"
    found = inspect_source(source, SnapshotOptions(modality="image"), lambda *_: None, page)
    assert found.items == 17
    assert "INVENTED" not in json.dumps(found.as_dict()) + page.read_text()


# Items


def wav(samples: np.ndarray) -> bytes:
    stream = BytesIO()
    soundfile.write(stream, samples, 16000, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def test_what_stands_for_a_file_is_rejected_with_the_reason(tmp_path):
    source = tree(tmp_path / "s", "a", "b")
    stand_ins = {
        "a/lfs.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n",
        "a/page.png": b"<!DOCTYPE html><html>404</html>",
        "a/annex.png": b"/annex/objects/SHA256E-s1--00.png\n",
        "b/zip.png": b"PK\x03\x04" + bytes(40),
    }
    for name, content in stand_ins.items():
        (source / name).write_bytes(content)
    found = inspected(source, max_rejected_fraction=0.5)
    reasons = [fate.reason for fate in found.rejected]
    parts = ("run `git lfs pull`", "a page of HTML", "run `git annex get`", "a ZIP archive")
    assert all(any(part in reason for reason in reasons) for part in parts)


def test_properties_of_pictures_are_counted_with_examples(tmp_path):
    source = tree(tmp_path / "s", "a", "b", each=12)
    stream = BytesIO()
    Image.new("RGB", (40, 30), "red").save(stream, "PNG")
    (source / "a/red.png").write_bytes(stream.getvalue())
    stream = BytesIO()
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 9).save(stream, "PNG")
    (source / "a/deep.png").write_bytes(stream.getvalue())
    (source / "b/copy.png").write_bytes(png(1000))
    found = inspected(source)
    assert found.properties == {
        "are of one colour throughout": 1,
        "have more than 8 bits in a value; each is scaled by its own largest value": 1,
    }
    assert ("a/red.png",) in [each.examples for each in found.findings]
    assert found.copies == 1


def test_properties_of_sounds_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(16):
        folder = tmp_path / "s" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.wav").write_bytes(wav(rng.normal(0, 0.1, 3000)))
    (tmp_path / "s/a/flat.wav").write_bytes(wav(np.full(3000, 0.5)))
    (tmp_path / "s/a/silent.wav").write_bytes(wav(np.zeros(3000)))
    (tmp_path / "s/a/loud.wav").write_bytes(wav(rng.normal(0, 2, 3000)))
    found = inspected(tmp_path / "s", max_rejected_fraction=0.5)
    assert [fate.reason for fate in found.rejected] == ["the audio is silent throughout"]
    assert "have one value throughout, so nothing is heard" in found.properties
    assert "exceed full scale, and are scaled so that their peak is 1" in found.properties


def test_properties_of_texts_are_counted(tmp_path):
    rows = [*labelled("a", "b"), "word " * 600 + ",a", "wrong \ufffd decoding,b", "cafÃ© au lait,b"]
    found = inspected(csv(tmp_path / "s", *rows))
    assert sorted(found.properties.values()) == [1, 2]


def test_pointer_as_bytes_is_rejected(tmp_path):
    source = tree(tmp_path / "s", "a", "b", extension=".bin")
    (source / "a/x.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid\n")
    (source / "a/y.bin").write_bytes(b"<html>" + struct.pack("<I", 7))
    found = inspected(source, modality="bytes", max_rejected_fraction=0.5)
    assert total(found.rejected) == 1


def test_snapshot_and_inspection_understand_a_source_in_the_same_way(tmp_path):
    rows = [*labelled("Cat", "cat", "dog", number=90), ",dog", *labelled("dog", number=3)]
    source = csv(tmp_path / "s", *rows)
    (source / "notes.txt").write_text("other")
    options = SnapshotOptions(max_rejected_fraction=0.5)
    out = _empty(tmp_path / "out")
    manifest = take_snapshot(source, out, options, lambda *_: None)
    found = inspect_source(source, options, lambda *_: None)
    recorded = json.loads((out / "inspection.json").read_text())
    assert recorded == json.loads(json.dumps(found.as_dict()))
    assert manifest.warnings == tuple(each.text for each in found.of_level("warning"))
    assert manifest.counts == found.counts
    page = (out / "inspection.html").read_text()
    assert page.count('<li class="card">') > 8
    assert '<h2 id="copies">' in page
