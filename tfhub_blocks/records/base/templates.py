"""Pages from templates: ``NAME.html``, ``NAME.css`` and ``NAME.js`` next to the module ``NAME.py``.

The code snapshot of a step contains the templates of each of its modules. A template cannot include
another module's template, which the snapshot might lack. What pages share is in ``templates.html``
and ``templates.css``, next to this module; the first is imported as ``shared``.
"""

import base64
from functools import cache
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from tfhub_blocks.records.base.foreign_text import printable_lines


def render(module: str, /, **values: object) -> str:
    """Render the ``.html`` template of a module.

    Every value is escaped, unless the template marks it as ``safe``. Control characters and
    other characters that are not shown become visible escapes.

    Args:
        module: The module's ``__file__``.
        values: The value of each name in the template.

    Raises:
        jinja2.UndefinedError: The template uses a name without a value.
    """
    return _template(Path(module).with_suffix(".html")).render(values)


def read_beside(module: str, suffix: str) -> str:
    """Return the text of a module's ``.css`` or ``.js`` file, without changes."""
    return Path(module).with_suffix(suffix).read_text(encoding="utf-8")


def shared_style() -> str:
    """Return the style that pages share."""
    return read_beside(__file__, ".css")


def data_uri(content: bytes, media_type: str) -> str:
    """Return a URI that contains a picture or a sound. Templates call this function."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _shown(value: object) -> object:
    return printable_lines(value) if type(value) is str else value


@cache
def _template(path: Path) -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
        loader=DictLoader({"shared": read_beside(__file__, ".html")}),
    )
    environment.globals["data_uri"] = data_uri
    return environment.from_string(path.read_text(encoding="utf-8"))
