"""Severities, exceptions, rules that crash or come from elsewhere, pipelines that are broken."""

import importlib
import sys
from datetime import date

import pytest
from rule_project import FILES, TODAY, Spoiled, build, edited, report, subject

from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.project.rule_exceptions import RuleException
from tfhub_blocks.control.rules.checked_repository import Repository, Uncompiled
from tfhub_blocks.control.rules.rule import rule
from tfhub_blocks.control.rules.rule_checks import Rules, check, load_rules
from tfhub_blocks.records.base.errors import BlocksError

PROFILE = "pipelines/profiles/strict.toml"
WORDS = "components/words/component.py"
NO_TEXT = (WORDS, ', description="A letter"', "")
OWN_RULE = """
from tfhub_blocks.control.rules.rule import rule


@rule("ours-letters", demand="nobody makes letters", why="we have enough", docs="https://x.org/l")
def no_letters(subject):
    for node in subject.nodes:
        if node.name == "letters":
            yield subject.at_node(node, "it makes letters", "make numbers")
"""


def exception(rule="step-ports", expires="2027-06-01", **more):
    lines = [f'{key} = "{value}"' for key, value in {"rule": rule, **more}.items()]
    texts = {"owner": "us", "reason": "Next week."}
    lines += [f'{key} = "{text}"' for key, text in texts.items() if key not in more]
    return "\n".join(["", "[[exceptions]]", *lines, f"expires = {expires}", ""])


def profile(*parts):
    """An edit that puts something at the end of the profile."""
    return PROFILE, "", "\n" + "\n".join(parts)


def found(report, rule="step-ports"):
    return [finding for finding in report.findings if finding.rule == rule]


@pytest.mark.parametrize(
    ("severity", "fails"), [("error", True), ("warning", False), ("note", False)]
)
def test_profile_says_how_bad_a_finding_is(severity, fails, project):
    said = profile(f'[rules]\nstep-ports = "{severity}"')
    outcome = report(subject(project, Spoiled(edits=(NO_TEXT, said))))
    assert [finding.severity for finding in found(outcome)] == [severity]
    assert outcome.has_failed == fails


def test_rule_that_is_off_is_not_asked(project):
    said = profile('[rules]\nstep-ports = "off"')
    outcome = report(subject(project, Spoiled(edits=(NO_TEXT, said))))
    assert found(outcome) == []
    assert "step-ports" not in {rule.id for rule in outcome.rules}


def test_profile_for_trials_is_lenient_where_a_rule_says_so(project):
    trial = (PROFILE, 'engine = "azureml"', 'engine = "azureml"\nencoder_policy = "experiment"')
    change = {"settings": {"source": "azureml:words"}}
    assert report(subject(project, Spoiled(**change))).has_failed
    outcome = report(subject(project, Spoiled(**change, edits=(trial,))))
    assert {finding.severity for finding in found(outcome, "data-version")} == {"note"}
    assert not outcome.has_failed


def test_exception_shows_with_owner_reason_and_date_and_does_not_fail(project):
    said = profile('[rules]\nstep-ports = "error"', exception())
    outcome = report(subject(project, Spoiled(edits=(NO_TEXT, said))))
    [finding] = found(outcome)
    assert finding.exception == RuleException("step-ports", "us", "Next week.", date(2027, 6, 1))
    assert not outcome.has_failed
    assert outcome.counts() == {"error": 0, "warning": 0, "note": 0, "excepted": 1}


def test_exception_covers_only_what_it_names(project):
    edits = [(WORDS, '"azureml:toy-env:VERSION"', '"azureml:toy-env"')]
    text = exception("environment-version", node="step words")
    for name in ("words", "register_model"):
        edits = [(f"components/{name}/component.py", *edits[0][1:])]
        outcome = report(subject(project, Spoiled(edits=(*edits, profile(text)))))
        [finding] = found(outcome, "environment-version")
        assert (finding.exception is not None) == (name == "words")


def test_exception_of_another_pipeline_covers_nothing_here(project):
    late = ("pipelines/toy.py", "letters = words(source=source)", "{}\n    {}")
    late = (*late[:2], late[2].format(late[1], "letters.set_limits(timeout=999)"))
    for pipeline, fails in (("toy", False), ("other", True)):
        said = profile(exception("compute-timeout", pipeline=pipeline))
        outcome = report(subject(project, Spoiled(edits=(late, said))))
        assert outcome.has_failed == fails


def test_expired_exception_covers_nothing_and_is_a_finding(project):
    said = profile('[rules]\nstep-ports = "error"', exception(expires="2026-12-31"))
    outcome = report(subject(project, Spoiled(edits=(NO_TEXT, said))))
    assert [finding.stands for finding in found(outcome)] == [True]
    [expired] = found(outcome, "exception-expired")
    assert (expired.severity, str(expired.place)) == ("error", f"{PROFILE}:32")


FAULTS = {
    "unknown_rule": ('[rules]\nstep-port = "error"',),
    "unknown_severity": ('[rules]\nstep-ports = "eror"',),
    "rule_that_stays": ('[rules]\nrule-crashed = "off"',),
    "exception_of_unknown_rule": (exception("step-prots"),),
    "exception_without_owner": (exception(owner=" "),),
    "exception_without_date": (exception().replace("expires = 2027-06-01", ""),),
    "exception_with_a_text_as_date": (exception(expires='"2027-06-01"'),),
    "exception_with_unknown_key": (exception(pipelin="toy"),),
    "exception_of_what_is_off": ('[rules]\nstep-ports = "off"', exception()),
    "exceptions_that_contradict": (exception(), exception(owner="them", node="step words")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_profile_cannot_mean_is_told_in_one_line(name, project, golden):
    build(project, Spoiled(edits=(profile(*FAULTS[name]),)))
    outcome = project.main("check", "toy", "--profile", "strict")
    assert outcome.status == 2
    golden(f"error_{name}", project.normal(outcome.err))


def test_exceptions_of_different_nodes_do_not_contradict(project):
    said = profile(exception(node="step words"), exception(node="step register_model"))
    assert not report(subject(project, Spoiled(edits=(said,)))).has_failed


def test_rule_that_crashes_is_named_and_the_check_fails(project, golden):
    @rule("ours-broken", demand="x", why="y", severity="note")
    def broken(subject):
        yield subject.at_pipeline("it is wrong", "mend it")
        raise KeyError("oh")

    @rule("ours-odd", demand="x", why="y", severity="note")
    def odd(subject):
        yield "no finding"

    outcome = report(subject(project), Rules((broken, odd)))
    assert [(it.rule, it.node, it.stands) for it in outcome.findings] == [
        ("rule-crashed", "rule ours-broken", True),
        ("rule-crashed", "rule ours-odd", True),
    ]
    assert outcome.findings[0].problem == "the rule stopped: KeyError: 'oh'"
    assert outcome.findings[0].place.path.name == "test_checks.py"
    assert outcome.has_failed


def test_what_a_rule_cannot_read_is_told_and_the_check_fails(project):
    found = subject(project, Spoiled(files={"pipelines/schedules/x.toml": "pipeline = 3"}))
    outcome = report(found)
    assert outcome.has_failed
    crashes = [it for it in outcome.findings if it.rule == "rule-crashed"]
    assert "x.toml > format_version] format_version is missing" in crashes[0].problem


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a distribution with rules of its own, as pip would."""

    def install(source, *entries):
        site = tmp_path / "site-packages"
        info = site / "our_rules-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-rules\nVersion: 1.0\n")
        lines = "\n".join(entries)
        (info / "entry_points.txt").write_text(f"[tfhub_blocks.rules]\n{lines}\n")
        (site / "our_rules.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()

    yield install
    sys.modules.pop("our_rules", None)


def test_installed_distribution_adds_rules(project, installed):
    installed(OWN_RULE, "ours = our_rules:no_letters")
    build(project, Spoiled(edits=(profile('[rules]\nours-letters = "warning"'),)))
    outcome = project.main("check", "toy", "--profile", "strict")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith(
        "warning ours-letters: nobody makes letters (1)\n  pipelines/toy.py:11  toy > letters\n"
    )
    assert "see: https://x.org/l\n" in outcome.out


def test_entry_point_may_be_a_module_of_rules(installed):
    installed(OWN_RULE, "ours = our_rules")
    assert "ours-letters" in {rule.id for rule in load_rules().known}


@pytest.mark.parametrize(
    ("source", "entry", "problem"),
    [
        ("raise OSError('no such thing')", "ours = our_rules", "OSError: no such thing"),
        (OWN_RULE, "ours = our_rules:nothing", "AttributeError: module 'our_rules' has no"),
        ("X = 1", "ours = our_rules", "neither a rule nor a module that contains rules"),
        (
            OWN_RULE.replace("ours-letters", "step-ports"),
            "ours = our_rules",
            "ValueError: a rule step-ports exists already",
        ),
    ],
)
def test_rules_that_do_not_load_fail_the_check(source, entry, problem, installed):
    installed(source, entry)
    outcome = check(read_profile("local"), [], load_rules())
    assert outcome.has_failed
    [finding] = outcome.findings
    assert (finding.rule, finding.node) == (
        "rule-crashed",
        f"entry point {entry[:4]} ({entry[7:]})",
    )
    assert problem in finding.problem


BROKEN = {
    "port_that_is_gone": ((WORDS, "    text:", "    letter:"), "words(source=source, text='a')"),
    "output_that_is_gone": ((WORDS, "    made:", "    words:"), "words(source=source)"),
    "input_that_is_new": ((WORDS, "    text:", "    odd: Input(type='integer'),\n    text:"), ""),
    "syntax": (("pipelines/toy.py", "    letters", "    letters = = 1\n    letters"), ""),
    "component_that_is_gone": (("pipelines/toy.py", "words\n", "words, sentences\n"), ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_pipeline_that_does_not_compile_is_a_finding_that_names_it(name, project, golden):
    edit, call = BROKEN[name]
    edits = [edit] + ([("pipelines/toy.py", "words(source=source)", call)] if call else [])
    broken = subject(project, Spoiled(edits=tuple(edits)))
    assert isinstance(broken, Uncompiled)
    outcome = report(broken)
    [finding] = outcome.findings
    assert (finding.rule, finding.pipeline, finding.stands) == ("pipeline-compiles", "toy", True)
    golden(f"broken_{name}", project.normal(f"{finding.place} {finding.problem}\n"))


def test_what_is_about_the_profile_is_told_once_for_all_pipelines(project):
    files = edited(FILES, [(PROFILE, "max_nodes = 2", "max_nodes = 2\nmin_nodes = 1")])
    text = files["pipelines/toy.py"].replace("toy", "twin")
    text = text.replace("words(", "words(count=12, ")
    build(project, Spoiled(files={PROFILE: files[PROFILE], "pipelines/twin.py": text}))
    repository = Repository(read_profile("strict"), TODAY)
    both = [repository.subject(name) for name in ("toy", "twin")]
    rules = [it for it in load_rules().known if it.id in ("compute-scale", "team-ports")]
    outcome = check(repository.profile, both, Rules(tuple(rules)))
    assert [(it.rule, it.pipeline, it.node) for it in outcome.findings] == [
        ("compute-scale", "", "profile strict"),
        ("team-ports", "twin", "letters"),
    ]


def test_settings_that_are_no_inputs_are_a_wrong_request(project):
    build(project, Spoiled())
    repository = Repository(read_profile("strict"), TODAY)
    with pytest.raises(
        BlocksError, match=r"pipeline toy has no input 'sorce'.*Did you mean 'source'"
    ):
        repository.subject("toy", ["sorce=azureml:words:0123456789ab"])
