"""Measure how this project reads: docstrings, docs, README, errors, and command-line help.

Prints counts per 1,000 words. With ``--check`` the exit status is 1 if a limit is exceeded, and
each excess is listed with examples of where it comes from.

    python tests/house/language.py --check .
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# The limits of --check: the measure, in which text, the most that is allowed.
LIMITS = {
    ("what", "docstrings"): 2.0,  # per 1,000 words
    ("hold, tell, say", "docstrings"): 0.6,  # per 1,000 words
    ("forbidden beginnings", "docstrings"): 3.0,  # per 100 summaries
    ("empty remedies", "errors"): 0.0,  # a count
    ("problems that begin with it, there", "errors"): 10.0,  # per 100 problems
}
# Per 1,000 words.
DIALECT = {
    "what": "what",
    "hold, tell, say": "hold holds held holding tell tells told telling say says said saying",
    "made, makes": "make makes made making",
    "give, given": "give gives gave given giving",
    "one": "one",
    "it, they, them": "it they them",
    "of ours, somebody": "ours somebody anybody nobody",
    "whence, mend, anew": "whence mend mended mends anew knot knots",
}
FORBIDDEN_BEGINNINGS = {"what", "whether", "how", "of", "that"}
EMPTY_REMEDIES = {
    "correct it", "correct them", "fix it", "mend it", "name another", "get it again",
    "try again", "choose another", "change it",
}  # fmt: skip
TEXTS = ("docstrings", "docs", "README", "errors", "help")
ROOTS = ("tfhub_blocks", "components", "pipelines")
HELP_CALLS = {"add_argument", "add_parser", "ArgumentParser", "add_argument_group"}


@dataclass
class Corpus:
    """The texts of a checkout; the single pieces carry the place that they come from."""

    texts: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in TEXTS})
    summaries: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    remedies: list[tuple[str, str]] = field(default_factory=list)


def read_checkout(checkout: Path) -> Corpus:
    """Collect every text of a checkout that people read."""
    corpus = Corpus()
    for path in (path for root in ROOTS for path in sorted((checkout / root).rglob("*.py"))):
        place = path.relative_to(checkout).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if text := ast.get_docstring(node):
                    corpus.texts["docstrings"].append(text)
                    line = f"{place}:{getattr(node, 'lineno', 1)}"
                    corpus.summaries.append((line, text.partition("\n")[0]))
            elif isinstance(node, ast.Call):
                _read_call(corpus, node, f"{place}:{node.lineno}")
    for path in sorted((checkout / "docs").rglob("*.md")):
        corpus.texts["docs"].append(_prose(path))
    corpus.texts["README"].append(_prose(checkout / "README.md"))
    return corpus


def _read_call(corpus: Corpus, call: ast.Call, line: str) -> None:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if name in HELP_CALLS:
        keywords = [key.value for key in call.keywords if key.arg in ("help", "description")]
        corpus.texts["help"] += [text for value in keywords for text in _literals(value)]
    elif name == "BlocksError":
        named = {key.arg: key.value for key in call.keywords}
        fields = ("where", "what", "problem", "expected", "remedy")
        named |= dict(zip(fields, call.args, strict=False))
        found = {key: list(_literals(named[key])) for key in fields[2:] if key in named}
        corpus.texts["errors"] += [text for texts in found.values() for text in texts]
        corpus.problems += [(line, text) for text in found.get("problem", [])]
        corpus.remedies += [(line, text) for text in found.get("remedy", [])]


def _literals(node: ast.AST) -> Iterator[str]:
    """Yield the alternatives that an expression has as text; a value in an f-string is an X."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.Constant) else "X" for v in node.values]
        yield "".join(map(str, parts))
    elif isinstance(node, ast.IfExp):
        yield from (*_literals(node.body), *_literals(node.orelse))
    elif isinstance(node, ast.BoolOp):
        yield from (text for value in node.values for text in _literals(value))


def _prose(path: Path) -> str:
    """Return a Markdown file without its code, links, and marks of tables."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    text = re.sub(r"(?s:```.*?```)|^    .*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\]\([^)]*\)|[|*#]|^[-: ]+$", " ", text, flags=re.MULTILINE)


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without those in backticks."""
    return re.findall(r"[a-z']+", re.sub(r"`+[^`]*`+", " ", text).lower())


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text that have a word in them."""
    found = re.split(r"(?<=[.!?])\s+|\n\s*\n|\n\s*[-*] ", text)
    return [sentence for sentence in found if words_of(sentence)]


def measure(corpus: Corpus) -> dict[tuple[str, str], float]:
    """Return each measure by its name and the text that it is taken of."""
    found = {}
    for name, texts in corpus.texts.items():
        words = words_of("\n\n".join(texts))
        found["words", name] = float(len(words))
        for measure_name, family in DIALECT.items():
            count = sum(word in family.split() for word in words)
            found[measure_name, name] = 1000 * count / max(len(words), 1)
        sentences = sum(len(sentences_of(text)) for text in texts)
        found["mean sentence length, words", name] = len(words) / max(sentences, 1)
    for name, text, pairs in (
        ("forbidden beginnings", "docstrings", excesses(corpus)["forbidden beginnings"]),
        ("problems that begin with it, there", "errors", excesses(corpus)["problems"]),
    ):
        total = corpus.summaries if text == "docstrings" else corpus.problems
        found[name, text] = 100 * len(pairs) / max(len(total), 1)
    found["empty remedies", "errors"] = float(len(excesses(corpus)["empty remedies"]))
    return found


def excesses(corpus: Corpus) -> dict[str, list[tuple[str, str]]]:
    """Return the pieces that the limits on single pieces count, with their places."""

    def begins(text: str, words: set[str]) -> bool:
        first = re.match(r"[\W_]*([A-Za-z]+)", text)
        return bool(first) and first[1].lower() in words

    return {
        "forbidden beginnings": [x for x in corpus.summaries if begins(x[1], FORBIDDEN_BEGINNINGS)],
        "problems": [x for x in corpus.problems if begins(x[1], {"it", "there"})],
        "empty remedies": [x for x in corpus.remedies if x[1].strip(" .") in EMPTY_REMEDIES],
    }


def main() -> int:
    """Print the table; with --check return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--check", action="store_true", help="fail if a limit is exceeded")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="per limit (5)")
    options = parser.parse_args()
    corpus = read_checkout(options.checkout)
    found = measure(corpus)
    limits = {name: f"{limit:g}" for (name, _), limit in LIMITS.items()}
    print(f"| {'per 1,000 words':34} |", *(f"{t:>10} |" for t in (*TEXTS, "limit")))
    print("|---|" + "---:|" * (len(TEXTS) + 1))
    for name in dict.fromkeys(name for name, _ in found):
        shown = [f"{found[name, t]:10.1f}" if (name, t) in found else " " * 10 for t in TEXTS]
        print(f"| {name:34} |", *(f"{cell:>10} |" for cell in (*shown, limits.get(name, ""))))
    over = [(*key, limit) for key, limit in LIMITS.items() if found[key] > limit]
    for name, text, limit in over if options.check else ():
        print(f"{name} in {text}: {found[name, text]:.1f}, and at most {limit:g} is allowed")
        for place, example in excesses(corpus).get(name.partition(" that")[0], [])[
            : options.examples
        ]:
            print(f"    {place}: {example}")
    return 1 if options.check and over else 0


if __name__ == "__main__":
    sys.exit(main())
