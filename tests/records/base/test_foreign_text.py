"""Text from outside is shown, and never obeyed."""

import io
import json

import pytest

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.foreign_text import (
    PrintableStream,
    printable,
    printable_lines,
    printable_output,
)
from tfhub_blocks.records.base.templates import Environment, _shown

HOSTILE = {
    "line break": ("a\nb", r"a\nb"),
    "carriage return": ("a\rb", r"a\rb"),
    "colour": ("\x1b[31mred\x1b[0m", r"\u001b[31mred\u001b[0m"),
    "title of a terminal": ("\x1b]0;x\x07", r"\u001b]0;x\u0007"),
    "one-byte sequence": ("\x9b2J", r"\u009b2J"),
    "bidirectional override": ("a\u202eb", r"a\u202eb"),
    "isolate": ("\u2066a\u2069", r"\u2066a\u2069"),
    "zero width": ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    "line separator": ("a\u2028b\u2029\x85", r"a\u2028b\u2029\u0085"),
    "lone surrogate": ("a\udc80b", r"a\udc80b"),
    "tag beyond the first plane": ("\U000e0041", r"\udb40\udc41"),
    "filler": ("a\u3164b", r"a\u3164b"),
    "nul": ("a\0b", r"a\u0000b"),
}
PLAIN = ["", "it's", "läufe", "日本\u3000語", "C:\\x", "a|b", "\N{DOG FACE}", "\xa0"]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_shown_becomes_an_escape(name):
    text, shown = HOSTILE[name]
    assert printable(text) == shown
    assert printable(text).isprintable()


@pytest.mark.parametrize("text", PLAIN)
def test_text_that_is_shown_stays_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize("name", HOSTILE)
def test_escapes_keep_the_meaning_of_json(name):
    text, _ = HOSTILE[name]
    record = json.dumps({"label": text}, ensure_ascii=False, indent=1)
    assert json.loads(printable_lines(record)) == {"label": text}


def test_stream_escapes_all_but_line_breaks_and_tabs():
    raw = io.StringIO()
    stream = PrintableStream(raw)
    print("a\tb\x1b[2K", "c\u202e", sep="\n", file=stream)
    assert raw.getvalue() == "a\tb\\u001b[2K\nc\\u202e\n"


def test_stream_writes_what_its_encoding_lacks_as_an_escape():
    stream = PrintableStream(io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert stream.write("é") == 1
    stream.flush()
    assert stream.raw.buffer.getvalue() == b"\\xe9"


def test_line_that_imitates_a_mark_is_indented():
    raw = io.StringIO()
    stream = PrintableStream(raw, ["error: "])
    stream.write("label\nerror: forged\nnot an error: x\n")
    stream.write("er")
    stream.write("ror\n")
    assert raw.getvalue() == "label\n error: forged\nnot an error: x\nerror\n"


def test_output_is_escaped_inside_the_context_alone(capsys):
    with printable_output():
        print("\x1b")
    print("\x1b")
    assert capsys.readouterr().out == "\\u001b\n\x1b\n"


def test_error_is_one_line_without_secrets_whatever_its_fields_are():
    error = BlocksError(
        "run",
        "gone\nerror: forged",
        "https://u:PASSWORD@h/x?sig=SECRET answered \x1b[31m",
        "",
        "Pass another one",
    )
    assert str(error).isprintable()
    assert "PASSWORD" not in str(error) + error.problem
    assert "SECRET" not in str(error) + error.problem


def test_page_shows_escapes():
    template = Environment(autoescape=True, finalize=_shown).from_string('<p a="{{ x }}">{{ x }}')
    assert template.render(x="\u202e<b>\x1b") == (
        '<p a="\\u202e&lt;b&gt;\\u001b">\\u202e&lt;b&gt;\\u001b'
    )
