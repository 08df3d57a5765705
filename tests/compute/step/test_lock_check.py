"""A step that replays a release lock sees what is locked, or ends before it begins."""

import os
from pathlib import Path

import pytest
from call_counts import calls_of
from toy_project import ROOT

from tfhub_blocks.compute.step.lock_check import check_expected
from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Provenance
from tfhub_blocks.records.environment.code_snapshots import write_step_package
from tfhub_blocks.records.formats.locked_expectations import (
    VARIABLE,
    Expected,
    code_digest,
    has_content,
)

CODE = {"component.py": "1" * 64}
POLICY = "TFHUB_BLOCKS_ENVIRONMENT_POLICY"


@pytest.fixture
def given(tmp_path):
    """A folder of data."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "word").write_text("hello")
    return folder


@pytest.fixture
def promise(monkeypatch, given):
    """Sets what is expected; by default exactly what ``check`` sees."""

    def promise(**other):
        expected = {
            "lock": "first",
            "code": code_digest(CODE),
            "environment": "toy:1",
            "parameters": {"count": 3, "flag": True, "rate": 1, "text": "3"},
            "inputs": {"source": tree_digest(files_sha256(given))} | other.pop("inputs", {}),
            "policies": {POLICY: "refuse"},
        }
        monkeypatch.setenv(POLICY, "refuse")
        monkeypatch.setenv(VARIABLE, Expected(**expected | other).as_text())

    return promise


def check(source, **other):
    seen = {
        "code_files": CODE,
        "environment": "toy:1",
        "parameters": {"count": 3, "flag": True, "rate": 1.0, "text": "3", "maybe": None},
        "inputs": {"source": source},
    }
    return check_expected("make", **seen | other)


def test_what_is_as_locked_passes_and_names_its_lock(promise, given):
    promise()
    assert check(given) == "first"


def test_without_a_lock_nothing_is_read(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert check(Path("/nowhere")) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"code": "2" * 64}, "but the lock states 222222222222…"),
        ({"environment": "toy:2"}, "environment is toy:1, but the lock states toy:2"),
        (
            {"parameters": {"count": 3, "flag": True, "rate": 1}},
            "text is '3', but the lock states None",
        ),
        (
            {"parameters": {"count": "3", "flag": True, "rate": 1, "text": "3"}},
            "count is 3, but the lock states '3'",
        ),
        (
            {"inputs": {"source": "3" * 64}},
            "the content of input source does not have digest 333333333333…",
        ),
        ({"inputs": {"other": "3" * 64}}, "input other is missing"),
        ({"policies": {POLICY: "warn"}}, "is 'refuse', but the lock states 'warn'"),
    ],
)
def test_each_difference_ends_the_step(promise, given, other, message):
    promise(**other)
    with pytest.raises(BlocksError) as caught:
        check(given)
    assert caught.value.what == "release lock first"
    assert message in str(caught.value)
    assert ";" not in caught.value.problem


@pytest.mark.parametrize("facts", [{"release_lock": "first"}, {}, None])
def test_folder_of_a_step_is_taken_only_if_that_replayed_a_lock(promise, given, tmp_path, facts):
    promise()
    made = tmp_path / "made"
    made.mkdir()
    if facts is not None:
        provenance = Provenance("make", {}, (), "0" * 64, "0" * 64, "", "", facts)
        Lineage("made", "made/1", {}, provenance).write(made)
    if facts:
        assert check(given, inputs={"source": given, "made": made}) == "first"
    else:
        with pytest.raises(BlocksError, match="made is the output of a step that replayed no lock"):
            check(given, inputs={"source": given, "made": made})


def test_several_differences_are_told_at_once(promise, given):
    promise(environment="toy:2", code="2" * 64, inputs={"a": "1" * 64, "b": "1" * 64})
    with pytest.raises(BlocksError, match=r"code is .*; environment is .*; and 1 more"):
        check(given)


def test_what_azure_puts_beside_the_code_is_no_part_of_it():
    beside = {"logs/azureml/x": "2" * 64, "user_logs/std_log.txt": "3" * 64, "outputs/y": "4" * 64}
    assert code_digest(CODE | beside) == code_digest(CODE)
    assert code_digest(CODE | {"numpy.py": "2" * 64}) != code_digest(CODE)
    assert code_digest(CODE | {"tfhub_blocks/logs/x.py": "2" * 64}) != code_digest(CODE)


def test_content_counts_with_or_without_the_lineage_that_it_carries(given):
    without = tree_digest(files_sha256(given))
    (given / STATEMENT_NAME).write_text("{}")
    whole = tree_digest(files_sha256(given))
    assert has_content(given, without)
    assert has_content(given, whole)
    (given / STATEMENT_NAME).write_text("{ }")
    assert not has_content(given, whole)
    (given / "word").write_text("bye")
    assert not has_content(given, without)


def test_unknown_promise_is_told(monkeypatch, given):
    monkeypatch.setenv(VARIABLE, '{"lock": "first", "cod": 1}')
    with pytest.raises(BlocksError, match="TFHUB_BLOCKS_EXPECTED"):
        check(given)


def test_it_needs_few_calls(tmp_path):
    """From the import on, with a real snapshot; in so many calls less than a tenth of a second."""
    component = ROOT / "components/fine_tune/component.py"
    write_step_package(component, ROOT / "tfhub_blocks", tmp_path)
    (tmp_path / "component.py").write_bytes(component.read_bytes())
    expected = Expected("first", code_digest(files_sha256(tmp_path)), "x:1", {"a": 1})
    script = (
        "from pathlib import Path\n"
        "from tfhub_blocks.compute.step.lock_check import check_expected\n"
        "from tfhub_blocks.records.base.digests import files_sha256\n"
        "assert check_expected('x', files_sha256(Path.cwd()), 'x:1', {'a': 1}, {}) == 'first'\n"
    )
    variables = {"PYTHONPATH": str(tmp_path), VARIABLE: expected.as_text()}
    assert calls_of(script, cwd=tmp_path, env=os.environ | variables) < 50_000  # it was 23,000
