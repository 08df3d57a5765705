"""Explanations of rules, for ``check --explain``: the sections of rules.md, which is installed."""

import re
from collections.abc import Iterable
from pathlib import Path

from tfhub_blocks.control.rules.rule import Rule
from tfhub_blocks.records.base.errors import BlocksError, nearest

PAGE = Path(__file__).with_name("rules.md")
ALL = "all"


def explain(name: str, rules: Iterable[Rule]) -> str:
    """Return the explanation of one rule, or one line for each rule.

    Args:
        name: The rule, or ``all``.
        rules: The rules that are installed.

    Raises:
        BlocksError: No rule has the name.
    """
    known = {rule.id: rule for rule in rules}
    if name == ALL:
        return "".join(f"{rule.id:<24} {rule.demand}\n" for rule in known.values())
    if name not in known:
        raise BlocksError(
            "check",
            f"--explain {name}",
            f"no rule is called {name!r}",
            "",
            nearest(name, known) or f"Run tfhub-blocks check --explain {ALL} to see all rules",
        )
    rule = known[name]
    section = _section(name)
    if section is None:  # a rule of a team
        section = f"({rule.severity}) {rule.demand}.\nWhy: {rule.why}.\nSee: {rule.docs}\n"
    return f"{name}\n{section.strip()}\n"


def _section(name: str) -> str | None:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^### {re.escape(name)}\n(.*?)(?=^##|\Z)", text, re.M | re.S)
    return found[1] if found else None
