"""`tfhub-blocks check`: what may be asked for, where the report goes, and how it ends."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
from rule_project import Spoiled, build
from toy_project import ROOT

from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.repository.catalog import pipeline_files
from tfhub_blocks.control.rules.checked_repository import Repository
from tfhub_blocks.control.rules.explanations import PAGE
from tfhub_blocks.control.rules.rule_checks import ALWAYS, check, load_rules
from tfhub_blocks.control.rules.subject import Subject

LATE = ("pipelines/toy.py", "words(source=source)", "words(source=source, count=12)")


def test_good_pipeline_ends_well(project):
    build(project, Spoiled())
    outcome = project.main("check", "toy", "--profile", "strict")
    assert (outcome.status, outcome.err) == (0, "")
    assert re.fullmatch(
        r"0 errors, 0 warnings, 0 notes, 0 excepted: \d+ rules, 1 pipeline, profile strict\n",
        outcome.out,
    )


def test_report_goes_to_a_file_and_the_status_tells_of_an_error(project):
    build(project, Spoiled(edits=(LATE,)))
    words = ("--profile", "strict", "--format", "json", "--output", "report.json")
    outcome = project.main("check", "toy", *words)
    assert (outcome.status, outcome.out) == (1, "")
    assert json.loads(Path("report.json").read_text())["counts"]["error"] == 1


def test_what_will_be_given_is_checked_too(project):
    build(project, Spoiled())
    words = ("check", "toy", "--profile", "strict", "--set")
    assert project.main(*words, "source=azureml:words:0123456789ab").status == 0
    outcome = project.main(*words, "source=azureml:words")
    assert outcome.status == 1
    assert "source: azureml:words names no version" in outcome.out


def test_all_tells_of_each_pipeline_and_of_one_that_is_broken(project):
    build(project, Spoiled(edits=(LATE,), files={"pipelines/gone.py": "import nothing_of_this"}))
    outcome = project.main("check", "--all", "--profile", "strict", "--format", "json")
    assert outcome.status == 1
    record = json.loads(outcome.out)
    assert set(record["pipelines"]) == {
        "toy",
        "gone",
        "transfer_learning",
        "fine_tuning",
        "latency_gate",
        "batch_inference",
        "monitoring",
        "monitoring_of_features",
    }
    found = {it["rule"]: it for it in record["findings"] if it["pipeline"] in ("toy", "gone")}
    assert found["team-ports"]["pipeline"] == "toy"
    assert (found["pipeline-compiles"]["file"], found["pipeline-compiles"]["problem"]) == (
        "pipelines/gone.py",
        "[pipelines/gone.py:1 > nothing_of_this] no module is called 'nothing_of_this'. Install"
        " nothing_of_this, or remove line 1.",
    )


WRONG = {
    "nothing": (),
    "both": ("toy", "--all"),
    "all_with_set": ("--all", "--set", "source=azureml:words:1"),
    "unknown_pipeline": ("tyo",),
    "unknown_profile": ("toy", "--profile", "strcit"),
    "unknown_setting": ("toy", "--profile", "strict", "--set", "sorce=azureml:words:1"),
    "no_such_folder": ("toy", "--profile", "strict", "--output", "nowhere/report"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_is_told_in_one_line(name, project, golden):
    build(project, Spoiled())
    outcome = project.main("check", *WRONG[name])
    assert (outcome.status, outcome.out) == (2, "")
    golden(f"error_check_{name}", project.normal(outcome.err))


@pytest.mark.parametrize("profile", ["local", "experiment", "production"])
def test_own_pipelines_have_no_errors_under_the_shipped_profiles(profile, monkeypatch):
    monkeypatch.setenv("BLOCKS_OWNER", "us")
    monkeypatch.setenv("BLOCKS_COST_CENTRE", "42")
    monkeypatch.chdir(ROOT)
    repository = Repository(read_profile(profile), date(2027, 1, 1))
    found = [repository.subject(name) for name in pipeline_files()]
    report = check(repository.profile, found, load_rules())
    assert [it for it in report.findings if it.severity != "note"] == []
    assert all(isinstance(it, Subject) for it in found)


def test_each_rule_has_a_section_in_the_docs_that_says_what_why_and_how():
    sections = re.split(r"^### ", PAGE.read_text(), flags=re.M)[1:]
    texts = {section.partition("\n")[0]: " ".join(section.split()) for section in sections}
    rules = (*ALWAYS, *load_rules().known)
    assert set(texts) == {rule.id for rule in rules}
    for rule in rules:
        severity = rule.severity + (f", trial {rule.trial}" * (rule.trial != rule.severity))
        for part in (f"({severity})", rule.demand, f"Why: {rule.why}.", "Fix: "):
            assert part.lower() in texts[rule.id].lower(), (rule.id, part)
