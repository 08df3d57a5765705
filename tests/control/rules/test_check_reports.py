"""The four formats of a report; what people see is in goldens/report_*."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rule_project import Spoiled, report, subject

from tfhub_blocks.control.rules.check_report import json_text, text
from tfhub_blocks.control.rules.junit import junit_text
from tfhub_blocks.control.rules.rule import DOCS, rule
from tfhub_blocks.control.rules.rule_checks import Rules, load_rules
from tfhub_blocks.control.rules.sarif import sarif_text

PROFILE = "pipelines/profiles/strict.toml"
EXCEPTION = """
[[exceptions]]
rule = "step-ports"
owner = "us"
reason = "Next week."
expires = 2027-06-01
"""
SPOILED = Spoiled(
    edits=(
        (PROFILE, "max_nodes = 2", "max_nodes = 2\nmin_nodes = 1"),
        (PROFILE, "", EXCEPTION),
        ("components/words/component.py", ', description="A letter"', ""),
        ("pipelines/toy.py", "words(source=source)", "words(source=source, count=12)"),
    ),
    settings={"source": "azureml:words:3"},
)


@rule("ours-broken", demand="x", why="y")
def broken(subject):
    yield from [][0]


@pytest.fixture
def found(project):
    """An error of the profile, one of a node, a warning, an exception, and a rule that crashes."""
    known = [it for it in load_rules().known if it.id != "team-assets"]
    return report(subject(project, SPOILED), Rules((*known, broken)))


def test_text_tells_people_everything_the_worst_first(found, project, golden):
    told = text(found)
    crashed = [it for it in found.findings if it.rule == "rule-crashed"]
    golden("report_text", project.normal(told.replace(str(crashed[0].place), "RULE:LINE")))


def test_json_tells_programs_every_finding(found):
    record = json.loads(json_text(found))
    assert record["failed"] is True
    assert record["counts"] == {"error": 3, "warning": 1, "note": 0, "excepted": 1}
    [node] = [it for it in record["findings"] if it["rule"] == "team-ports"]
    assert node == {
        "rule": "team-ports",
        "severity": "error",
        "pipeline": "toy",
        "node": "letters",
        "file": "pipelines/toy.py",
        "line": 11,
        "problem": "count is 12, and more than 9",
        "why": "a changed component breaks pipelines that its author did not check",
        "fix": "Set another value for count",
        "docs": f"{DOCS}#team-ports",
        "exception": None,
    }
    [excepted] = [it["exception"] for it in record["findings"] if it["rule"] == "step-ports"]
    assert excepted == {"owner": "us", "reason": "Next week.", "expires": "2027-06-01"}


def test_sarif_places_each_finding_in_the_repository(found):
    record = json.loads(sarif_text(found))
    assert record["version"] == "2.1.0"
    [run] = record["runs"]
    rules = run["tool"]["driver"]["rules"]
    levels = {}
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        levels[result["ruleId"]] = result["level"]
        [location] = result["locations"]
        physical = location["physicalLocation"]
        file = physical["artifactLocation"]["uri"]
        if result["ruleId"] == "rule-crashed":  # that of this test, outside of the project
            assert file.startswith("file:///")
            continue
        assert physical["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
        assert physical["region"]["startLine"] <= len(Path(file).read_text().splitlines())
    assert levels == {
        "rule-crashed": "error",
        "compute-scale": "error",
        "team-ports": "error",
        "data-digest": "warning",
        "step-ports": "warning",
    }
    [suppressed] = [it for it in run["results"] if "suppressions" in it]
    assert suppressed["suppressions"] == [
        {
            "kind": "external",
            "status": "accepted",
            "justification": "us, until 2027-06-01: Next week.",
        }
    ]


def test_sarif_knows_a_finding_again_when_lines_move(found):
    def fingerprints(report):
        [run] = json.loads(sarif_text(report))["runs"]
        return [it["partialFingerprints"]["tfhubBlocks/v1"] for it in run["results"]]

    moved = [replace(it, place=replace(it.place, line=it.place.line + 9)) for it in found.findings]
    assert fingerprints(found) == fingerprints(replace(found, findings=tuple(moved)))
    assert len(set(fingerprints(found))) == len(found.findings)


def test_junit_has_a_case_for_each_rule_and_fails_for_errors_alone(found):
    root = ElementTree.fromstring(junit_text(found).encode())  # noqa: S314
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"profile strict", "toy"}
    numbers = {name: (it.get("failures"), it.get("errors")) for name, it in suites.items()}
    assert numbers == {"profile strict": ("1", "0"), "toy": ("1", "1")}
    assert suites["toy"].get("tests") == str(len(found.rules)) == str(len(suites["toy"]))
    cases = {case.get("name"): case for case in suites["toy"]}
    assert cases["team-ports"].find("failure").text == (
        "error pipelines/toy.py:11 letters: count is 12, and more than 9; "
        "fix: Set another value for count"
    )
    assert cases["rule-crashed"].find("error") is not None
    assert cases["data-digest"].find("failure") is None
    assert cases["data-digest"].find("system-out").text.startswith("warning pipelines/toy.py:9 ")
    shared = {case.get("name"): case for case in suites["profile strict"]}
    assert "[excepted by us until 2027-06-01: Next week.]" in (
        shared["step-ports"].find("system-out").text
    )


def test_junit_holds_what_no_xml_may_hold(found):
    odd = replace(found.findings[0], problem="a\x00b\x1b<&\ud800\ufffe")
    root = ElementTree.fromstring(junit_text(replace(found, findings=(odd,))).encode())  # noqa: S314
    assert r"a\u0000b\u001b<&\ud800\ufffe" in "".join(root.itertext())


def test_thousands_of_findings_are_grouped_by_what_they_say(found, golden):
    [port] = [it for it in found.findings if it.rule == "team-ports"]
    many = [
        replace(port, node=f"node_{number}", problem=f"count is {10 + number % 7}, and more than 9")
        for number in range(5000)
    ]
    golden("report_thousands", text(replace(found, findings=tuple(many))))
