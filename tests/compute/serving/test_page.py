"""The page, in a real browser, on a real server."""

from contextlib import ExitStack

import pytest
from browser import MISSING, PROGRAM, browsing
from PIL import Image

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


@pytest.fixture
def open_page(tmp_path):
    """``open_page(server)`` gives a tab with the page, which at the end asked nobody else."""
    with ExitStack() as stack:
        opened = []

        def open_page(server):
            page = stack.enter_context(browsing(tmp_path / "browser"))
            page.send("Page.navigate", url=server.url)
            page.wait_for("document.getElementById('status')?.textContent === 'Ready'")
            opened.append((page, server))
            return page

        yield open_page
        for page, server in opened:
            ours = (server.url, f"blob:{server.url}/", "data:,")
            assert [url for url in page.requests if not url.startswith(ours)] == []
            # A refusal is noted by the browser, too; nothing else is, by its policy or a script.
            assert [line for line in page.complaints if "422" not in line] == []


def answer(page, status):
    told = "document.getElementById('status')"
    page.wait_for(f"{told}.textContent !== 'Ready' && !{told}.textContent.startsWith('Asking')")
    text = page.run(f"{told}.textContent")
    assert page.run(f"{told}.className") == ("error" if status == "error" else "")
    return text


def test_a_picture_that_is_dropped_gets_its_labels(open_page, server, tmp_path):
    page = open_page(server)
    for colour in ("red", "blue"):
        Image.new("RGB", (60, 60), colour).save(tmp_path / f"{colour}.png")
    assert page.run("document.title") == "model"
    page.drop("#files", tmp_path / "red.png")
    assert answer(page, "").startswith("red, in ")
    rows = page.run("[...document.querySelectorAll('#answer tr')].map(r => r.innerText)")
    assert [row.split()[0] for row in rows] in (["red", "green", "blue"], ["red", "blue", "green"])
    content = (tmp_path / "red.png").read_bytes()
    probability = server.score(content)[1]["predictions"][0]["probability"]
    assert rows[0].split()[1:] == [f"{100 * probability:.1f}", "%"]
    assert page.wait_for("document.getElementById('picture').naturalWidth") == 60
    page.choose("#file", tmp_path / "blue.png")
    page.wait_for("document.getElementById('status').textContent.startsWith('blue')")


def test_what_is_no_picture_is_said_in_a_sentence(open_page, server, tmp_path):
    page = open_page(server)
    (tmp_path / "notes.txt").write_text("hello")
    page.drop("#files", tmp_path / "notes.txt")
    assert answer(page, "error") == "the file is not an image"
    assert page.run("document.querySelectorAll('#answer tr').length") == 0


def test_a_text_that_is_typed_gets_its_labels(open_page, text_server):
    page = open_page(text_server)
    assert page.run("document.getElementById('files').hidden")
    page.type_into("#text", "A long text, <b>as</b> it is 🙂")
    page.run("document.querySelector('#texts button').click()")
    assert answer(page, "").startswith("long, in ")
    rows = page.run("[...document.querySelectorAll('#answer tr')].map(r => r.innerText)")
    assert [row.split() for row in rows] == [["long", "100.0", "%"], ["short", "0.0", "%"]]
