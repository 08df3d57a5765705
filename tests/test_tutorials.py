"""Each tutorial of docs/tutorials runs from an empty folder, and prints what its page shows."""

import sys
from pathlib import Path

import pytest
from tutorial_pages import agrees, play, read_blocks

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_prints_what_its_page_shows(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    variables = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    played = play(text, tmp_path, variables)
    wrong = [
        f"$ {command.line}\n{printed}"
        for command, printed, _ in played
        if not agrees(command.shown, printed)
    ]
    assert wrong == []
    for command, printed, status in played:
        assert (status != 0) == ("error: " in command.shown), printed


def test_tutorials_have_something_to_run():
    assert all(read_blocks(path.read_text(encoding="utf-8")) for path in TUTORIALS)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a 1.5 s\n", "a 20.1 s\n", True),
        ("a\n", "b\n", False),
        ("...\nend\n", "x\ny\nend\n", True),
        ("...\nend\n", "x\nend\nmore\n", False),
        ("a (0.5)\n", "a (0.6)\n", False),
        ("", "unexpected\n", False),
    ],
)
def test_page_agrees_with_what_was_printed_but_for_times(shown, printed, same):
    assert agrees(shown, printed) is same
