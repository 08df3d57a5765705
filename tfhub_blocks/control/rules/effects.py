"""The effects of a step outside of its outputs, as far as its definition shows them."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.rules.source_lines import Sources
from tfhub_blocks.control.rules.subject import DeclaredStep

_CATEGORIES = {"register", "deploy", "publish", "promote"}
_VERBS = re.compile(r"(register|deploy|publish|promote|send|delete|notify)_")
_CALLS = re.compile(
    r"(^|\.)(MLClient|register_model|create_model_version|begin_create_or_update|create_or_update"
    r"|begin_delete|urlopen)$|^requests\.(post|put|patch|delete)$"
)


def effects(step: DeclaredStep, sources: Sources) -> list[str]:
    """Return the signs that a step has effects outside of its outputs; empty without effects.

    Signs are its tag ``category``, the verb in its name, and the calls in its component.py.
    """
    return list(_effects(step, sources))


def _effects(step: DeclaredStep, sources: Sources) -> Iterator[str]:
    category = step.tags.get("category", "")
    if category in _CATEGORIES:
        yield f"the category is {category!r}"
    if verb := _VERBS.match(step.name):
        yield f"the name begins with {verb[1]}"
    for call in sources.calls(step.path) if step.path else ():
        if _CALLS.search(call.name):
            yield f"line {call.line} calls {call.name}"
