"""The order of the packages, and the language of the texts."""

import ast
import re
from pathlib import Path

import pytest
from language import LIMITS, measure, read_checkout
from package_graph import ROOT, circles, find_modules, main, package_imports, repeated_names


def test_packages_form_no_circle_and_no_module_name_occurs_twice(capsys):
    assert main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a/x.py": "from tfhub_blocks.b import y", "b/y.py": "import tfhub_blocks.c.z"}, []),
        (
            {
                "a/x.py": "def f():\n    from tfhub_blocks.b import y",
                "b/y.py": "import tfhub_blocks.a.x",
            },
            [["tfhub_blocks.a", "tfhub_blocks.b"]],
        ),
    ],
)
def test_circle_is_found_through_imports_in_functions(files, found, tmp_path):
    files = {**files, "c/z.py": ""}
    for name, text in files.items():
        path = tmp_path / "tfhub_blocks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").write_text("")
    assert circles(package_imports(find_modules(tmp_path))) == found


def test_repeated_name_is_found(tmp_path):
    for name in ("a/x.py", "b/x.py", "commands/x.py"):
        path = tmp_path / "tfhub_blocks" / name
        path.parent.mkdir(parents=True)
        path.write_text("")
    assert repeated_names(find_modules(tmp_path)) == [["tfhub_blocks.a.x", "tfhub_blocks.b.x"]]


def test_each_package_says_in_one_sentence_what_it_is_for():
    for path in sorted(Path(ROOT / "tfhub_blocks").rglob("__init__.py")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith('"""'), path
        assert first.rstrip('"').endswith("."), path


def test_texts_keep_the_limits_of_the_language():
    found = measure(read_checkout(ROOT))
    assert {key: found[key] for key, most in LIMITS.items() if found[key] > most} == {}


def test_walk_of_one_picture_names_functions_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| `([\w/.]+)` \| `([\w.]+)` \|", page, re.M)
    assert len(rows) > 20
    for file, name in rows:
        path = ROOT / file if file.startswith("components") else ROOT / "tfhub_blocks" / file
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        defined = {getattr(node, "name", "") for node in nodes}
        assert set(name.split(".")) <= defined, (file, name)


def test_code_cites_the_decisions_that_explain_it():
    for record in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        number = int(record.name[:4])
        text = record.read_text(encoding="utf-8")
        modules = re.search(r"^- Modules: (.*?)\n\n", text, re.M | re.S)
        assert modules, record.name
        for name in re.findall(r"`([\w/]+)`", modules[1]):
            path = ROOT / "tfhub_blocks" / f"{name.removeprefix('tfhub_blocks/')}.py"
            if path.is_file():
                code = path.read_text(encoding="utf-8")
                cited = re.findall(r"decisions? ([\d, and]+)", code)
                assert str(number) in re.findall(r"\d+", " ".join(cited)), (record.name, name)
            else:
                assert path.with_suffix("").is_dir(), (record.name, name)
