"""Links in sources: refused where they lead out, followed on request, and never in circles."""

import csv
from pathlib import Path

import pytest

from tfhub_blocks.compute.data.data_sources import open_source
from tfhub_blocks.records.base.errors import BlocksError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        (folder / label / "1.bin").write_bytes(label.encode())
    (tmp_path / "secret.bin").write_bytes(b"secret")
    return folder


def places(source: Path, **options: bool) -> list[str]:
    return [place.path for place in open_source(source, "bytes", **options).places]


def refusal(source: Path, **options: bool) -> str:
    with pytest.raises(BlocksError) as caught:
        places(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_link_out_of_the_source_is_refused(source: Path) -> None:
    (source / "a" / "2.bin").symlink_to("../../secret.bin")

    assert "'a/2.bin' is a link that leads out of the source, to" in refusal(source)
    assert "leads out" in refusal(source, is_labelled=False)


def test_link_out_is_followed_on_request_and_recorded(source: Path) -> None:
    (source / "a" / "2.bin").symlink_to("../../secret.bin")

    found = open_source(source, "bytes", follow_links=True)

    assert [place.path for place in found.places] == ["a/1.bin", "a/2.bin", "b/1.bin"]
    [warning] = found.links.warnings()
    assert warning.endswith(f"a/2.bin -> {(source.parent / 'secret.bin').resolve()}")


def test_link_inside_of_the_source_is_taken(source: Path) -> None:
    (source / "a" / "2.bin").symlink_to("1.bin")

    assert "a/2.bin" in places(source)


def test_path_of_a_table_through_a_link_is_refused(tmp_path: Path, source: Path) -> None:
    (source / "b").rename(tmp_path / "elsewhere")
    (source / "b").symlink_to(tmp_path / "elsewhere")
    with (source / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), ("a/1.bin", "a"), ("b/1.bin", "b")])

    assert "'b/1.bin' is a link that leads out of the source" in refusal(source)
    assert places(source, follow_links=True) == ["a/1.bin", "b/1.bin"]


def test_linked_folder_is_followed_on_request(tmp_path: Path, source: Path) -> None:
    (source / "b").rename(tmp_path / "elsewhere")
    (source / "b").symlink_to(tmp_path / "elsewhere")

    assert "'b' is a link to a folder" in refusal(source)
    assert places(source, follow_links=True) == ["a/1.bin", "b/1.bin"]


@pytest.mark.parametrize("target", ["..", ".", "../../source", "loop"])
def test_loop_is_one_line(source: Path, target: str) -> None:
    (source / "a" / "loop").symlink_to(target)

    if target == "loop":
        assert "a/loop" in places(source)  # a file that cannot be read, which is rejected later
    else:
        assert "leads back to a folder above itself" in refusal(source, follow_links=True)
        assert "is a link to a folder" in refusal(source)
