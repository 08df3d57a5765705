"""What a step does outside of its outputs, as far as its definition says."""

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
    """How it shows that a step does something that its outputs do not hold; empty if it does not.

    By its tag ``category``, by the verb that it is named by, or by what its component.py calls.
    """
    return list(_effects(step, sources))


def _effects(step: DeclaredStep, sources: Sources) -> Iterator[str]:
    category = step.tags.get("category", "")
    if category in _CATEGORIES:
        yield f"its category is {category!r}"
    if verb := _VERBS.match(step.name):
        yield f"it is named after what it does, {verb[1]}"
    for call in sources.calls(step.path) if step.path else ():
        if _CALLS.search(call.name):
            yield f"line {call.line} calls {call.name}"
