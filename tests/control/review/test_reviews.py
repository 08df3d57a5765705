"""`tfhub-blocks review`: what differs between two commits, without a step that runs."""

import json
from datetime import date
from pathlib import Path

import pytest
from release_project import commit, edit, git
from rule_project import Spoiled, build, shallow

from tfhub_blocks.control.repository.git_state import open_objects
from tfhub_blocks.control.review import commit_reading
from tfhub_blocks.control.review.commit_reading import read_state
from tfhub_blocks.control.review.guarded_changes import guarded_changes
from tfhub_blocks.control.review.past_spending import PastSpending
from tfhub_blocks.control.review.review_formats import FORMATS
from tfhub_blocks.control.review.review_tables import Review, details
from tfhub_blocks.control.review.reviewing import review_commits
from tfhub_blocks.control.review.state_comparison import (
    ALWAYS,
    NEW,
    REUSED,
    RUNS,
    compare_states,
)
from tfhub_blocks.control.rules.rule_checks import Rules, load_rules

DAY = date(2027, 1, 1)
STRICT = "pipelines/profiles/strict.toml"
PRICES = """format_version = 1
currency = "USD"
region = "eastus"
stale_days = 3000
[regions.eastus]
date = "2026-12-01"
source = "a test"
[regions.eastus.sizes]
Standard_D4ds_v5 = { dedicated = 0.25 }
Standard_NC4as_T4_v3 = { dedicated = 0.5 }
Standard_NC24ads_A100_v4 = { dedicated = 4.0 }
"""
RAILS = """
[review]
approvers = ["Ada", "bob"]
cost_rise = "approve"
new_gpu = "approve"
endless_endpoint = "stop"
encoder_decision = "approve"
"""
SCHEDULE = """format_version = 1
pipeline = "toy"
profile = "strict"
time_zone = "UTC"
cron = "0 3 * * *"
"""


@pytest.fixture
def reviewed(project, monkeypatch):
    """A project of one pipeline and one profile, committed; the others of the package are away."""
    build(project, Spoiled())
    project.write("pipelines/prices.toml", PRICES)
    (project.folder / "pipelines/schedules").mkdir()
    profiles, pipelines = commit_reading.profile_files, commit_reading.pipeline_files

    def own(found):
        return {key: it for key, it in found().items() if key in ("strict", "toy", "other")}

    monkeypatch.setattr(commit_reading, "profile_files", lambda: own(profiles))
    monkeypatch.setattr(commit_reading, "pipeline_files", lambda: own(pipelines))
    # It compiles the installed pipelines.
    quick = Rules(tuple(it for it in load_rules().known if it.id != "team-assets"))
    monkeypatch.setattr(commit_reading, "load_rules", lambda: quick)
    project.write(".gitignore", ".runs/\n__pycache__/\n")
    git(project, "init", "-q", "-b", "main")
    commit(project, "base")
    return project


def state(name):
    with open_objects("review") as objects:
        past = PastSpending({}, {"words": 30.0})
        return shallow(read_state, objects, objects.resolve(name), DAY, past)


def review(base, head, approved=(), spent=None):
    found = compare_states(base, head, DAY, spent or {})
    return Review(found, guarded_changes(base, head, found, approved))


def table(found, title):
    return next((it.rows for it in details(found) if it.title == title), ())


def test_step_whose_code_changed_runs_again_and_so_do_those_that_read_it(reviewed):
    base = state("HEAD")
    edit(reviewed, "components/words/component.py", '"""A toy."""\n    pass', '"""A toy."""\n    1')
    commit(reviewed)
    head = state("HEAD")
    found = review(base, head)
    [change] = found.found.pipelines
    states = {name: step.state for name, step in change.steps.items()}
    # registration is not deterministic, so it ran each time before as well.
    assert states == {
        "imported": REUSED,
        "letters": RUNS,
        "tuned": RUNS,
        "registration": ALWAYS,
    }
    assert change.steps["letters"].reasons == ("code: component.py",)
    assert change.steps["tuned"].reasons == ("it reads letters, which runs",)
    assert change.before.ceiling == change.after.ceiling
    # Two nodes start once, the GPU and the step of known duration run, and idle nodes end.
    assert change.next_run < change.after.estimate.expected_total < change.after.ceiling
    assert not found.has_failed
    same = review(base, base)
    assert same.is_empty
    assert same.verdict == "No pipeline, cost or setting changes."


def test_equal_commits_give_equal_bytes_whatever_the_environment_says(reviewed, monkeypatch):
    edit(reviewed, STRICT, 'owner = "us"', 'owner = "$BLOCKS_OWNER"')
    commit(reviewed)
    texts = []
    for owner in ("ada", None):
        if owner:
            monkeypatch.setenv("BLOCKS_OWNER", owner)
        else:
            monkeypatch.delenv("BLOCKS_OWNER")
        with open_objects("review") as objects:
            found = shallow(review_commits, objects, "HEAD~1", "main", DAY, PastSpending())
        texts.append([FORMATS[name](found) for name in FORMATS])
    assert texts[0] == texts[1]
    assert table(found, "Changes of profiles") == (("strict", "job.owner", "us", "$BLOCKS_OWNER"),)


def test_guardrails_of_the_base_ask_for_an_approval_or_stop(reviewed):
    edit(reviewed, STRICT, "run = 1.0\n", f"run = 1.0\n{RAILS}")
    commit(reviewed)
    base = state("HEAD")
    edit(reviewed, STRICT, "timeout_s = 60\n\n[roles.gpu]", "timeout_s = 14400\n\n[roles.gpu]")
    edit(reviewed, STRICT, "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")
    edit(reviewed, STRICT, RAILS, "")
    edit(reviewed, "encoders/lite0/encoder.toml", 'loading = "mounted"', 'loading = "downloaded"')
    edit(
        reviewed,
        "components/words/component.py",
        '"""A toy."""\n    pass',
        '"""A toy."""\n    ManagedOnlineEndpoint(name="e")',
    )
    commit(reviewed)
    head = state("HEAD")
    found = review(base, head)
    kinds = {it.kind: it for it in found.guarded}
    assert set(kinds) == {
        "guardrails",
        "cost_rise",
        "new_gpu",
        "endless_endpoint",
        "encoder_decision",
    }
    assert found.has_failed
    assert found.verdict == "A guardrail stops this change: endless_endpoint."
    assert kinds["new_gpu"].text == (
        "step tuned of toy runs on Standard_NC24ads_A100_v4, and on Standard_NC4as_T4_v3 before"
    )
    assert kinds["encoder_decision"].text == (
        "encoders/lite0: decisions.loading changes from mounted to downloaded"
    )
    assert kinds["cost_rise"].text.startswith("a run of toy may cost 4.41, and 0.3750 before (+")
    assert kinds["cost_rise"].verdict == "needs the approval of Ada or bob"
    approved = review(base, head, approved=["ada", "carol"])
    assert [it.kind for it in approved.guarded if it.stands] == ["endless_endpoint"]
    assert {it.approved_by for it in approved.guarded} == {("Ada",)}
    # Nobody who is no approver counts.
    assert len([it for it in review(base, head, ["carol"]).guarded if it.stands]) == len(kinds)
    report = json.loads(FORMATS["sarif"](found))["runs"][0]
    rules = {it["ruleId"] for it in report["results"] if it["level"] == "error"}
    assert {"review-cost-rise", "review-endless-endpoint", "cost-endpoint"} <= rules
    assert json.loads(FORMATS["json"](found))["failed"] is True


def test_facts_of_every_section_are_compared(reviewed):
    base = state("HEAD")
    lock = "components/environments/toy/requirements.lock"
    edit(reviewed, lock, "alpha==1.0", "alpha==1.1")
    edit(reviewed, "components/environments/toy/Dockerfile", "toy-cuda12.4:1.0", "toy-cuda12.6:1.0")
    edit(reviewed, "pipelines/prices.toml", "0.25", "0.5")
    reviewed.write("pipelines/schedules/nightly.toml", SCHEDULE)
    reviewed.write("pipelines/releases/one.lock.toml", "format_version = 1\n")
    reviewed.write(
        STRICT,
        reviewed.read(STRICT)
        + '[deployments]\nlongest_days = 9\n[[exceptions]]\nrule = "cost-reuse"\nowner = "ada"\n'
        'reason = "soon"\nexpires = 2027-01-05\n',
    )
    edit(reviewed, "encoders/lite0/encoder.toml", 'licence = "', 'licence = "x')
    commit(reviewed)
    head = state("HEAD")
    found = review(base, head, spent={"USD": 7.5})
    facts = {
        name: {(it.subject, it.key): it.after for it in of}
        for name, of in found.found.facts.items()
    }
    assert facts["environments"][("toy", "package alpha")] == "1.1"
    assert facts["environments"][("toy", "base image")] == "example.org/toy-cuda12.6:1.0"
    assert (
        facts["prices"][("prices.toml", "regions.eastus.sizes.Standard_D4ds_v5.dedicated")] == "0.5"
    )
    assert facts["schedules"][("nightly", "cron")] == "0 3 * * *"
    assert facts["endpoints"] == {("profile strict", "longest_days"): "9"}
    assert ("encoders/lite0", "licence") in facts["encoders"]
    assert facts["releases"] == {("one", ""): "exists"}
    [month] = found.found.months
    assert (month.before, month.spent) == (0.0, 7.5)
    assert month.after == pytest.approx(31 * found.found.pipelines[0].after.ceiling)
    assert [(day.isoformat(), text) for _, day, text in found.found.expiring] == [
        ("2027-01-05", "cost-reuse, ada: soon")
    ]
    text = FORMATS["text"](found)
    assert "spent this month: 7.50" in text
    markdown = FORMATS["markdown"](found)
    assert markdown.startswith("<!-- tfhub-blocks review -->\n### Review of ")
    assert markdown.count("<details>") == markdown.count("</details>") >= 6


def test_pipeline_that_does_not_compile_and_a_new_one_are_shown(reviewed):
    base = state("HEAD")
    edit(reviewed, "pipelines/toy.py", "words(source=source)", "words(sauce=source)")
    reviewed.write(
        "pipelines/other.py",
        reviewed.read("pipelines/toy.py")
        .replace("def toy", "def other")
        .replace("words(sauce=source)", "words(source=source)"),
    )
    commit(reviewed)
    head = state("HEAD")
    other, toy = review(base, head).found.pipelines
    assert {it.state for it in other.steps.values()} == {NEW}
    assert "sauce" in toy.after.problem
    found = review(base, head)
    assert [it.rule for _, it in found.found.new_findings if it.rule == "pipeline-compiles"]
    assert "adds 1 error" in found.verdict


def test_wrong_requests_are_refused_before_a_commit_is_read(reviewed, tmp_path):
    spent = tmp_path / "spent.json"
    spent.write_text("[]")
    for words, told in (
        (("nowhere",), "no commit is called 'nowhere'"),
        (("--", "--upload-pack=x"), "no commit is called"),
        (("HEAD", "--on", "soon"), "'soon' is not a date"),
        (("HEAD", "--spent", str(spent)), "spent.json cannot be read"),
        (("HEAD", "--also", "yaml=x"), "'yaml=x' is not a format and a file"),
    ):
        outcome = reviewed.main("review", *words)
        assert outcome.status == 2
        assert told in outcome.err


def test_command_writes_all_its_reports_at_once(reviewed):
    git(reviewed, "branch", "old")
    reviewed.write("README.md", "words")
    commit(reviewed)
    words = ("--format", "markdown", "--also", "json=r.json", "--also", "sarif=r.sarif")
    outcome = shallow(reviewed.main, "review", "old", *words, "--on", "2027-01-01")
    assert outcome.status == 0, outcome.err
    assert "No pipeline, cost or setting changes." in outcome.out
    assert json.loads(Path("r.json").read_text())["empty"] is True
    assert json.loads(Path("r.sarif").read_text())["runs"][0]["results"] == []


def test_change_begins_at_the_common_ancestor(reviewed):
    git(reviewed, "switch", "-q", "-c", "change")
    reviewed.write("README.md", "words")
    commit(reviewed)
    git(reviewed, "switch", "-q", "main")
    edit(reviewed, STRICT, "run = 1.0", "run = 2.0")
    newest = commit(reviewed)
    with open_objects("review") as objects:
        found = shallow(review_commits, objects, "main", "change", DAY, PastSpending())
        assert found.is_empty
        assert found.found.base == objects.resolve("main~1") != newest
