"""``tfhub-blocks data inspect``: what it prints, and how it ends."""

import json
import tempfile

import pytest

from tfhub_blocks.cli import main
from tfhub_blocks.compute.data import data_analysis

TEXT = """\
SOURCE: a table of texts, modality text
  31 rows, 2 files: 29 items, 1 copies of items, 1 rejected, 1 other files
  rejected           1  the label is empty: rows.csv:31
  other              1  the file is beside a table of texts: notes.txt

  class       train  validation        test       items
  Cat             6           2           2          10
  cat             6           2           2          10
  dog             7           1           1           9
  all            19           5           5          29

warning: [labels-differ-in-form] the labels 'Cat', 'cat' differ only in case or white space: use \
one label if they mean one class
"""


@pytest.fixture
def source(tmp_path):
    rows = [f"text {n} word{n * 7} of{n * 3},{('cat', 'Cat', 'dog')[n % 3]}" for n in range(29)]
    (tmp_path / "s").mkdir()
    rows = ["text,label", *rows, rows[0], "no label,"]
    (tmp_path / "s/rows.csv").write_text("\n".join(rows))
    (tmp_path / "s/notes.txt").write_text("notes")
    return tmp_path / "s"


def inspect(capsys, source, *options):
    status = main(["data", "inspect", str(source), *options])
    printed = capsys.readouterr()
    return status, printed.out.replace(str(source), "SOURCE"), printed.err


def test_inspection_as_text_on_stdout_and_progress_on_stderr(source, capsys):
    status, out, err = inspect(capsys, source, "--set", "max_rejected_fraction=0.1")
    assert (status, out) == (0, TEXT)
    assert err.startswith("progress: ")
    assert sorted(path.name for path in source.iterdir()) == ["notes.txt", "rows.csv"]


def test_fault_is_one_line_with_what_to_type_and_status_1(source, capsys):
    status, out, _ = inspect(capsys, source, "--no-duplicates")
    assert status == 1
    (fault,) = [line for line in out.splitlines() if line.startswith("fault: ")]
    assert "1 of 31 items cannot be used: rows.csv:31: the label is empty" in fault
    (source / "rows.csv").write_text("text,kind,class\nx,a,b\n")
    status, out, _ = inspect(capsys, source)
    assert "  type: --set label_column=class\n" in out


def test_inspection_as_json_and_as_a_page(source, capsys, tmp_path):
    page = tmp_path / "page.html"
    status, out, _ = inspect(capsys, source, "--json", "--html", str(page), "--no-duplicates")
    found = json.loads(out)
    assert (status, found["usable"], found["items"], found["copies"]) == (1, False, 29, 1)
    assert found["options"] == {"near_duplicates": "off"}
    assert found["near_duplicates"] is None
    assert found["fates"]["others"][0]["examples"] == ["notes.txt"]
    text = page.read_text()
    assert "✗ Refused" in text
    assert "Items as a model gets them" in text


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("respect_split=true", "'respect_split=true' names no parameter. Expected NAME=VALUE. Did"),
        ("respect_splits=yes", "'yes' is not true or false. Pass --set respect_splits=VALUE"),
        ("max_pixels=many", "'many' is not a whole number. Pass --set max_pixels=VALUE"),
        ("modality", "'modality' names no parameter"),
        ("modality=video", "[data inspect > --set modality] 'video' is not allowed. Set modality"),
    ],
)
def test_setting_that_cannot_be_used_is_one_line(source, capsys, setting, message):
    status, out, err = inspect(capsys, source, "--set", setting)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_missing_source_and_page_that_cannot_be_written_are_one_line(source, capsys, tmp_path):
    status, _, err = inspect(capsys, tmp_path / "none")
    assert (status, err.count("\n")) == (2, 1)
    assert "[data inspect > SOURCE]" in err
    status, _, err = inspect(capsys, source, "--html", str(tmp_path / "none/page.html"))
    assert status == 2
    assert "[data inspect > --html]" in err


def test_interrupted_inspection_leaves_nothing(source, capsys, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(data_analysis, "examine_text", interrupt)
    status, out, err = inspect(capsys, source)
    assert (status, out, err) == (130, "", "interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
