import re
from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from tfhub_blocks.records.base import templates
from tfhub_blocks.records.base.templates import read_beside, render

PACKAGE = Path(__file__).parents[3] / "tfhub_blocks"
SHARED = Path(templates.__file__).with_suffix(".html")
TEMPLATES = [
    path for kind in ("html", "css", "js") for path in PACKAGE.rglob(f"*.{kind}") if path != SHARED
]


@pytest.fixture
def module(tmp_path):
    """``module(template)`` writes a module's template, and returns the module's path."""

    def module(template):
        (tmp_path / "page.html").write_text(template, encoding="utf-8")
        return str(tmp_path / "page.py")

    return module


def test_values_are_escaped_and_safe_ones_are_not(module):
    page = module("<p title='{{ text }}'>{{ text }}</p><style>{{ style | safe }}</style>\n")
    assert render(page, text="<b>'\"&", style="a > b {}") == (
        "<p title='&lt;b&gt;&#39;&#34;&amp;'>&lt;b&gt;&#39;&#34;&amp;</p><style>a > b {}</style>\n"
    )


def test_lines_of_blocks_leave_no_empty_lines(module):
    page = module("<ul>\n  {% for it in items %}\n<li>{{ it }}\n  {% endfor %}\n</ul>\n")
    assert render(page, items="ab") == "<ul>\n<li>a\n<li>b\n</ul>\n"


@pytest.mark.parametrize(
    "template", ["{{ text }}", "{{ text.nothing }}", "{% if text %}{% endif %}"]
)
def test_name_without_a_value_is_an_error(template, module):
    with pytest.raises(UndefinedError, match="text"):
        render(module(template))


def test_template_cannot_include_another_module_s(module):
    page = module("{% include 'page.html' %}")
    with pytest.raises(TemplateNotFound, match="page"):
        render(page)


def test_style_is_read_as_it_is(tmp_path):
    (tmp_path / "page.css").write_text("a { color: red } /* {{ x }} é */\n", encoding="utf-8")
    text = read_beside(str(tmp_path / "page.py"), ".css")
    assert text == "a { color: red } /* {{ x }} é */\n"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_each_template_belongs_to_the_module_that_reads_it(path):
    text = path.with_suffix(".py").read_text(encoding="utf-8")
    call = r"render\(\s*__file__" if path.suffix == ".html" else rf'\(__file__, "{path.suffix}"\)'
    assert re.search(call, text)


def test_there_are_templates_to_check():
    assert {path.suffix for path in TEMPLATES} == {".html", ".css", ".js"}


def test_no_module_contains_html():
    """Pages stand in templates, where editors know their language."""
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(
            r"<(html|head|body|style|script|div|table|t[dhr]|svg|h\d|ul|li|p)[ >]", path.read_text()
        )
    ]
    assert found == []
