"""A report as JUnit XML: a suite for each pipeline, a case for each rule."""

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from tfhub_blocks.control.rules.rule import Finding, Rule
from tfhub_blocks.control.rules.rule_checks import CheckReport, rule_crashed
from tfhub_blocks.records.base.foreign_text import printable

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
# The characters that XML 1.0 forbids, even escaped.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_text(report: CheckReport) -> str:
    """Return a report in which errors are failures; warnings, notes and exceptions are output."""
    root = Element("testsuites", name=f"tfhub-blocks check --profile {report.profile}")
    # Findings that concern several pipelines have a suite of their own.
    for suite in ("", *report.pipelines):
        found = [it for it in report.findings if it.pipeline == suite]
        if suite or found:
            _add_suite(root, suite or f"profile {report.profile}", found, report.rules)
    indent(root, " ")
    return _HEAD + tostring(root, encoding="unicode") + "\n"


def _add_suite(root: Element, name: str, found: list[Finding], rules: tuple[Rule, ...]) -> None:
    suite = SubElement(root, "testsuite", name=_clean(name), tests=str(len(rules)))
    failures = errors = 0
    for rule in rules:
        case = SubElement(suite, "testcase", classname=_clean(name), name=rule.id)
        own = [it for it in found if it.rule == rule.id]
        standing = [it for it in own if it.stands]
        if standing:
            is_crash = rule.id == rule_crashed.id
            errors, failures = errors + is_crash, failures + (not is_crash)
            message = f"{rule.demand}; {rule.why}"
            element = SubElement(case, "error" if is_crash else "failure", message=message)
            element.text = _lines(standing)
        if rest := [it for it in own if not it.stands]:
            SubElement(case, "system-out").text = _lines(rest)
    suite.set("failures", str(failures))
    suite.set("errors", str(errors))


def _lines(found: list[Finding]) -> str:
    lines = []
    for it in found:
        kind = it.severity
        until = ""
        if it.exception is not None:
            until = f" [excepted by {it.exception.owner} until {it.exception.expires}: "
            until += f"{it.exception.reason}]"
        lines.append(f"{kind} {it.place} {it.node}: {it.problem}; fix: {it.remedy}{until}")
    return _clean("\n".join(map(printable, lines)))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
