"""The check of pipelines against all rules: findings, their severities, and exceptions."""

# decision 24

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from tfhub_blocks.control.environments.environment_catalog import shown_path
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.rule_exceptions import Severity
from tfhub_blocks.control.rules import (
    compute_rules,
    cost_rules,
    data_rules,
    encoder_rules,
    environment_rules,
    exception_rules,
    step_rules,
    team_rules,
)
from tfhub_blocks.control.rules.checked_repository import Uncompiled
from tfhub_blocks.control.rules.rule import Finding, Rule, rule
from tfhub_blocks.control.rules.source_lines import SourceLine
from tfhub_blocks.control.rules.subject import Subject
from tfhub_blocks.records.base.errors import BlocksError, nearest

# The entry points of installed distributions: each is a Rule, or a module that contains rules.
ENTRY_POINTS = "tfhub_blocks.rules"
MODULES = (
    environment_rules,
    data_rules,
    encoder_rules,
    compute_rules,
    cost_rules,
    team_rules,
    step_rules,
    exception_rules,
)
_ORDER: Sequence[Severity] = ("error", "warning", "note", "off")


@rule(
    "pipeline-compiles",
    demand="a pipeline in the repository compiles",
    why="a change in the repository broke it, so it would fail when it is needed",
)
def pipeline_compiles(_: Subject) -> Iterator[Finding]:
    """A fault found before there is a subject; the rule cannot be turned off or excepted."""
    yield from ()


@rule(
    "rule-crashed",
    demand="each rule runs to its end",
    why="a rule that crashed has checked nothing, so its findings are unknown",
)
def rule_crashed(_: Subject) -> Iterator[Finding]:
    """A fault found while a rule loads or runs; the rule cannot be turned off or excepted."""
    yield from ()


ALWAYS = (pipeline_compiles, rule_crashed)


@dataclass(frozen=True)
class Rules:
    """The loaded rules, and a finding for each rule that could not be loaded."""

    known: tuple[Rule, ...]
    crashes: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """The findings of a check, the worst first, and the rules that ran."""

    profile: str
    pipelines: tuple[str, ...]
    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]

    @property
    def has_failed(self) -> bool:
        """True if a finding of severity error is not excepted."""
        return any(finding.stands for finding in self.findings)

    def counts(self) -> dict[str, int]:
        """Return the number of findings by severity, and the number of excepted ones."""
        kinds = [it.severity if it.exception is None else "excepted" for it in self.findings]
        return {kind: kinds.count(kind) for kind in ("error", "warning", "note", "excepted")}


def load_rules() -> Rules:
    """Load this project's rules, and those of installed distributions."""
    known = {found.id: found for module in MODULES for found in _rules(module)}
    crashes = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            for found in _rules(point.load()):
                others = {id: it for id, it in known.items() if it is not found}
                if found.id in {*others, *(it.id for it in ALWAYS)}:
                    raise ValueError(f"a rule {found.id} exists already")
                known[found.id] = found
        except Exception as error:
            crashes.append(_crash(f"entry point {point.name} ({point.value})", error, ""))
    return Rules(tuple(known.values()), tuple(crashes))


def _rules(holder: object) -> list[Rule]:
    if isinstance(holder, Rule):
        return [holder]
    members = vars(holder).values() if isinstance(holder, ModuleType) else ()
    found = [it for it in members if isinstance(it, Rule)]
    if not found:
        raise TypeError(f"{holder!r} is neither a rule nor a module that contains rules")
    return found


def check(profile: Profile, pipelines: Iterable[Subject | Uncompiled], rules: Rules) -> CheckReport:
    """Check some pipelines under a profile against all rules.

    Raises:
        BlocksError: The profile names an unknown rule, or a rule that cannot be changed.
    """
    _check_ids(profile, rules)
    severities = {it.id: _severity(it, profile) for it in rules.known}
    asked = tuple(it for it in rules.known if severities[it.id] != "off")
    found, names = list(rules.crashes), []
    for pipeline in pipelines:
        names.append(pipeline.pipeline)
        if isinstance(pipeline, Uncompiled):
            found += map(_uncompiled, (pipeline, *pipeline.others))
            continue
        for one in asked:
            try:
                given = list(one(pipeline))
                found += [_settled(it, one, severities[one.id], pipeline) for it in given]
            except Exception as error:
                found.append(_crash(f"rule {one.id}", error, pipeline.pipeline))
    all_rules = (*ALWAYS, *asked)
    places = {it.id: index for index, it in enumerate(all_rules)}

    def order(it: Finding) -> tuple[object, ...]:
        at = (places[it.rule], it.pipeline, it.place.path, it.place.line, it.node)
        return (it.exception is not None, _ORDER.index(it.severity), *at)

    # A finding about a profile, a step or an environment comes up with each pipeline.
    ordered = tuple(sorted(dict.fromkeys(found), key=order))
    return CheckReport(profile.name, tuple(names), all_rules, ordered)


def _check_ids(profile: Profile, rules: Rules) -> None:
    known = {it.id for it in rules.known}
    named = {f"rules.{id}": id for id in profile.rules}
    named |= {f"exceptions.{n}.rule": it.rule for n, it in enumerate(profile.exceptions)}
    for key, name in named.items():
        if name in {it.id for it in ALWAYS}:
            problem, expected = f"{name} is always an error", "another rule"
            remedy = f"Remove {key} from the profile, and fix the findings of {name}"
        elif name in known or rules.crashes:  # a rule that did not load may have this name
            continue
        else:
            problem, expected = (
                f"no rule is called {name!r}",
                "a rule that `tfhub-blocks check --explain all` lists",
            )
            remedy = (
                nearest(name, known)
                or f"Remove {key} from the profile, or install the package that adds this rule"
            )
        raise BlocksError("profile", f"{profile.path} > {key}", problem, expected, remedy)


def _severity(one: Rule, profile: Profile) -> Severity:
    return profile.rules.get(one.id) or (one.trial if profile.is_for_trials else one.severity)


def _settled(finding: Finding, one: Rule, severity: Severity, subject: Subject) -> Finding:
    """Return a finding with its rule, its severity and its exception."""
    if not isinstance(finding, Finding):
        raise TypeError(f"the rule returned {finding!r}, which is no finding")
    excepted = [
        it
        for it in subject.profile.exceptions
        if it.covers(one.id, finding.pipeline, finding.node) and subject.today <= it.expires
    ]
    exception = excepted[0] if excepted else None
    return replace(finding, rule=one.id, severity=severity, exception=exception)


def _uncompiled(pipeline: Uncompiled) -> Finding:
    return Finding(
        pipeline.problem,
        "Fix the pipeline, or the component that it uses",
        f"pipeline {pipeline.pipeline}",
        pipeline.pipeline,
        pipeline.place,
        pipeline_compiles.id,
    )


def _crash(what: str, error: Exception, pipeline: str) -> Finding:
    message = str(error) if isinstance(error, BlocksError) else f"{type(error).__name__}: {error}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename if trace else __file__
    return Finding(
        f"the rule stopped: {' '.join(message.split())}",
        "Fix the file that the rule could not read, or the rule itself",
        what,
        pipeline,
        SourceLine(shown_path(Path(file)), trace.tb_lineno if trace else 1),
        rule_crashed.id,
    )
