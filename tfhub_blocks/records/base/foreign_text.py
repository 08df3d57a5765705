"""Text from outside, in a form that a terminal, a log or a page shows and does not obey."""

# decision 69

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

# Characters of Python's "printable" kinds that leave no mark where they are shown.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Return a text on one line, with each character escaped that is not shown as itself.

    Control characters, line breaks, ANSI sequences, bidirectional overrides, zero-width
    characters and lone surrogates become escapes as in JSON, such as ``\u001b``. A JSON text
    therefore keeps its meaning, and every printable text stays as it is.
    """
    return text if _is_shown(text) else "".join(map(_escaped, text))


def printable_lines(text: str) -> str:
    """Return a text of several lines, each escaped as ``printable`` does; tabs stay."""
    if _is_shown(text):
        return text
    return "".join(c if c in "\n\t" else _escaped(c) for c in text)


def is_utf_8(text: str) -> bool:
    """Return True if a text can be written as UTF-8: it has no half of a surrogate pair.

    Python represents undecodable bytes of file names by such halves (PEP 383).
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_shown(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _escaped(character: str) -> str:
    is_space = unicodedata.category(character) == "Zs"
    if (character.isprintable() or is_space) and character not in _BLANK:
        return character
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


@contextmanager
def printable_output(marks: Iterable[str] = ()) -> Iterator[None]:
    """Escape what is printed to standard output and error inside this context."""
    before = sys.stdout, sys.stderr
    marks = tuple(marks)
    sys.stdout, sys.stderr = (
        stream if isinstance(stream, PrintableStream) else _printable_stream(stream, marks)
        for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def beneath(stream: Any) -> Any:
    """Return the stream that a PrintableStream writes to; any other stream is returned itself."""
    return stream.raw if isinstance(stream, PrintableStream) else stream


def _printable_stream(stream: TextIO, marks: tuple[str, ...]) -> TextIO:
    return cast("TextIO", PrintableStream(stream, marks))


class PrintableStream:
    """A text stream that escapes what it is given to write, except for line breaks and tabs.

    Everything else is the underlying stream's own. ``marks`` are beginnings of lines that only
    the owner of the stream may write: a line of somebody else's that begins so is indented.
    """

    def __init__(self, stream: TextIO, marks: Iterable[str] = ()) -> None:
        self.raw = stream
        self._marks = tuple(marks)
        self._at_start = True

    def write(self, text: str) -> int:
        """Write the escaped text, and return the length of the text that was passed."""
        shown = printable_lines(text)
        if self._marks:
            shown = "".join(map(self._indented, shown.splitlines(keepends=True)))
        encoding = getattr(self.raw, "encoding", None) or "utf-8"
        self.raw.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each text."""
        for line in lines:
            self.write(line)

    def _indented(self, line: str) -> str:
        starts, self._at_start = self._at_start, line.endswith("\n")
        return f" {line}" if starts and line.startswith(self._marks) else line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def __enter__(self) -> "PrintableStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.flush()

    def __iter__(self) -> Any:
        return iter(self.raw)
