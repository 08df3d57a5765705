import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tfhub_blocks.records.environment.installed_packages import (
    definition_version,
    environment_digest,
    installed_packages,
)

ROOT = Path(__file__).parents[3]
BY_METADATA = """
import importlib.metadata, json, re
found = {}
for one in importlib.metadata.distributions():
    if str(one._path).endswith(".dist-info"):
        found.setdefault(re.sub(r"[-_.]+", "-", one.name).lower(), one.version)
print(json.dumps(found))
"""
BY_NAMES = """
import json
from tfhub_blocks.records.environment.installed_packages import installed_packages
print(json.dumps(installed_packages()))
"""


def fresh(script):
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_installed_packages_are_what_importlib_finds():
    expected = fresh(BY_METADATA)
    expected.pop("tfhub-blocks", None)
    assert len(expected) > 50
    assert fresh(BY_NAMES) == expected


def test_own_distribution_is_no_part_of_the_environment(tmp_path, monkeypatch):
    (tmp_path / "tfhub_blocks-0.1.0.dist-info").mkdir()
    (tmp_path / "Zope.Interface_x-1.2.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert installed_packages() == {"zope-interface-x": "1.2"}


def test_first_on_the_path_counts(tmp_path, monkeypatch):
    for name, version in [("one", "1"), ("two", "2")]:
        (tmp_path / name / f"x-{version}.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "one"), str(tmp_path / "two")])
    assert installed_packages() == {"x": "1"}


def test_environment_digest_changes_with_an_installed_version(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "x-1.dist-info").mkdir()
    before = environment_digest()
    assert environment_digest() == before
    (tmp_path / "x-1.dist-info").rename(tmp_path / "x-2.dist-info")
    assert environment_digest() != before


@pytest.mark.parametrize(
    ("name", "changes"),
    [("requirements.lock", True), ("Dockerfile", True), ("environment.yaml", False)],
)
def test_version_follows_what_is_installed(name, changes, tmp_path):
    folder = tmp_path / "cpu"
    shutil.copytree(ROOT / "components" / "environments" / "cpu", folder)
    before = definition_version(folder)
    assert len(before) == 12
    with (folder / name).open("a") as file:
        file.write("# edited\n")
    assert (definition_version(folder) != before) is changes
