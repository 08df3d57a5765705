import base64
import hashlib
import importlib
import platform

import pytest

from tfhub_blocks.records.environment import environment_drift
from tfhub_blocks.records.environment.environment_drift import (
    Drift,
    drift_from,
    tampered_files,
    with_tampered_files,
)
from tfhub_blocks.records.environment.package_locks import parse_lock

importlib.import_module("packaging.markers")  # whose folder tests take from the path
PYTHON = ".".join(platform.python_version_tuple()[:2])


def write_distribution(folder, name, version, files=None):
    """An installed distribution with a RECORD, as pip leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{info.name}/RECORD,,"]
    for path, text in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{path},sha256={digest.decode()},{len(text)}")
    (info / "RECORD").write_text("\n".join(lines) + "\n")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Gives what is installed; the folder comes first, and is all there is."""
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    def install(**versions):
        for name, version in versions.items():
            write_distribution(tmp_path, name, version)
        return tmp_path

    return install


def lock(*lines, python=PYTHON):
    header = ["# environment: toy:1", f"# python: {python}"]
    return parse_lock("\n".join([*header, *lines]), "x")


def test_nothing_differs_where_the_lock_is_installed(installed):
    installed(alpha="1.0", Beta_x="2")
    found = drift_from(lock("alpha==1.0", "beta-x==2"))
    assert found.differences(extra_counts=True) == []


def test_kinds_of_differences_are_told_apart(installed):
    installed(alpha="1.1", more="7")
    found = drift_from(lock("alpha==1.0", "beta==2", python="3.9"))
    assert (found.other, found.missing, found.extra) == (
        {"alpha": ("1.0", "1.1")},
        {"beta": "2"},
        {"more": "7"},
    )
    python = f"Python is {platform.python_version()}, locked is 3.9"
    told = [python, "alpha is 1.1, locked is 1.0", "beta 2 is missing"]
    assert found.differences(extra_counts=False) == told
    assert found.differences(extra_counts=True) == [*told, "more 7 is not in the lock"]


@pytest.mark.parametrize("locked", ["3.1", "3.110", "2.11"])
def test_python_is_compared_by_parts(locked, monkeypatch):
    monkeypatch.setattr(platform, "python_version", lambda: "3.11.4")
    assert drift_from(lock(python=locked)).differences(extra_counts=False)
    assert not drift_from(lock(python="3.11")).differences(extra_counts=False)


def test_markers_of_a_universal_lock_are_heeded(installed):
    installed(alpha="1.0")
    found = drift_from(
        lock(
            "alpha==1.0 ; python_full_version >= '3.0'",
            "alpha==0.9 ; python_full_version < '3.0'",
            "pywin32==312 ; sys_platform == 'nowhere'",
        )
    )
    assert found.differences(extra_counts=True) == []


@pytest.mark.parametrize(("one", "other", "same"), [("2024.1", "2024.01", True), ("1", "?", False)])
def test_a_version_written_otherwise_is_the_same(one, other, same, installed):
    installed(alpha=other)
    assert (drift_from(lock(f"alpha=={one}")).other == {}) is same


def test_what_installs_the_lock_is_no_difference(installed):
    installed(pip="26", wheel="1")
    assert drift_from(lock()).extra == {}


def test_record_of_extras_is_a_count_and_a_digest(installed):
    installed(more="7", most="8")
    record = drift_from(lock()).as_dict()
    assert record["extra"]["count"] == 2
    assert len(record["extra"]["digest"]) == 64
    assert "more" not in str(record)


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_tampered_files_are_found(how, tmp_path, monkeypatch):
    write_distribution(tmp_path, "alpha", "1.0", {"alpha/a.py": "a = 1\n", "alpha/b.py": ""})
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert tampered_files("alpha") == []
    if how == "changed":
        (tmp_path / "alpha/a.py").write_text("a = 2\n")
    else:
        (tmp_path / "alpha/a.py").unlink()
    assert tampered_files("alpha") == ["alpha/a.py"]
    wanted = lock("alpha==1.0", "beta==2")
    found = with_tampered_files(drift_from(wanted), wanted)
    assert found.tampered == {"alpha": ["alpha/a.py"]}
    assert found.differences(extra_counts=False) == [
        "beta 2 is missing",
        "alpha was changed after it was installed (alpha/a.py)",
    ]


def test_a_record_that_is_gone_is_told(tmp_path, monkeypatch):
    write_distribution(tmp_path, "alpha", "1.0")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    (tmp_path / "alpha-1.0.dist-info" / "RECORD").unlink()
    assert tampered_files("alpha") == ["RECORD"]


def test_what_pip_installed_is_as_its_record_says():
    assert tampered_files("packaging") == []


def test_a_checkout_carries_no_lock():
    assert environment_drift.read_step_lock() is None


def test_no_difference_in_words_without_differences():
    assert Drift("toy:1", "3.11.4", "3.11", {}, {}, {}).differences(extra_counts=True) == []
