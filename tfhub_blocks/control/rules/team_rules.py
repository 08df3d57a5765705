"""What lets several teams work in one workspace, and one team change its steps."""

from collections.abc import Iterator

from tfhub_blocks.control.project.profiles import job_faults
from tfhub_blocks.control.project.step_graph import OutputOf
from tfhub_blocks.control.repository.catalog import DATA_TYPES
from tfhub_blocks.control.rules.effects import effects
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Port, Subject, told

_NAME_PORT = "model_name"


@rule(
    "team-owner",
    demand="each job has an owner and a cost centre",
    why="what nobody owns nobody ends, and nobody can say who pays",
    trial="warning",
)
def team_owner(subject: Subject) -> Iterator[Finding]:
    """What `submit` puts on each job, as tags."""
    for key, problem, expected in job_faults(subject.profile):
        yield subject.at_profile(key, problem, f"say {expected}; set the variable that it names")


@rule(
    "team-names",
    demand="what a team has in the workspace begins with its prefix",
    why="without it nobody can tell whose a cluster, a model or a data asset is",
    trial="warning",
)
def team_names(subject: Subject) -> Iterator[Finding]:
    """``name_prefix`` of the profile's [job]; a profile without one demands nothing."""
    prefix = subject.profile.job.name_prefix if subject.profile.job else ""
    for kind, name, finding in _names(subject) if prefix else ():
        if not name.startswith(prefix):
            yield Finding(
                f"{kind} {name} does not begin with {prefix}",
                f"call it {prefix}{name}",
                finding.node,
                finding.pipeline,
                finding.place,
            )


def _names(subject: Subject) -> Iterator[tuple[str, str, Finding]]:
    """Kind, name and place of all that a pipeline and its profile make under a name."""
    for name in subject.profile.clusters:
        yield "cluster", name, subject.at_profile(f"clusters.{name}", "", "")
    here = subject.at_pipeline("", "")
    if subject.profile.job and subject.profile.job.experiment:
        here = subject.at_profile("job.experiment", "", "")
    yield "experiment", subject.experiment_name, here
    for node in subject.nodes:
        for name in node.registers.values():
            yield "asset", name, subject.at_node(node, "", "")
    for name, finding in _models(subject):
        yield "model", name, finding
    for schedule, _, file in subject.schedules():
        yield "schedule", schedule, subject.at_schedule(schedule, "pipeline", "", "")
        for output, name in file.register.items():
            place = subject.at_schedule(schedule, f"register.{output}", "", "")
            yield "asset", name, place


@rule(
    "team-assets",
    demand="no two pipelines share what each of them, or somebody else, may change",
    why="one experiment moves the ground under another, and neither notices",
    trial="warning",
)
def team_assets(subject: Subject) -> Iterator[Finding]:
    """A model's name that both register under, or a place that both read."""
    mine = dict(_models(subject)), dict(_places(subject))
    if not any(mine):
        return
    for other in subject.repository.others(subject.pipeline):
        for verb, own, theirs in zip(
            ("registers model", "reads"), mine, (_models(other), _places(other)), strict=True
        ):
            for name in sorted(own.keys() & {name for name, _ in theirs}):
                finding = own[name]
                yield Finding(
                    f"it {verb} {name}, and so does pipeline {other.pipeline}",
                    "give each pipeline its own, or an exact version to read",
                    finding.node,
                    finding.pipeline,
                    finding.place,
                )


def _models(subject: Subject) -> Iterator[tuple[str, Finding]]:
    """Each name that models are registered under."""
    for node in subject.nodes:
        name = subject.values(node).get(_NAME_PORT)
        if name and effects(subject.steps[node.component], subject.sources):
            yield str(name), subject.at_node(node, "", "")


def _places(subject: Subject) -> Iterator[tuple[str, Finding]]:
    """Each place that may change and is read, and that nobody but this pipeline was given."""
    for data in subject.data() if subject.is_remote else ():
        if data.is_address:
            yield told(data.address), subject.at_data(data, "", "")


@rule(
    "team-ports",
    demand="what a pipeline binds fits the ports of its steps",
    why="the change of a component breaks pipelines that its author did not look at",
)
def team_ports(subject: Subject) -> Iterator[Finding]:
    """Types of what steps hand each other, and values; a port that is gone does not compile."""
    for node in subject.nodes:
        ports = subject.steps[node.component].inputs
        for port, value in node.inputs.items():
            if isinstance(value, OutputOf):
                maker = subject.graph.nodes[value.node]
                given = maker.output_types.get(value.port, "nothing")
                if given != ports[port].type:
                    problem = (
                        f"{port} takes {ports[port].type}, and {value.node} gives {given} at "
                        f"{value.port}"
                    )
                    remedy = f"correct the binding, or the ports of {node.component}"
                    yield subject.at_node(node, problem, remedy)
        for port, value in subject.values(node).items():
            if problem := _misfit(ports[port], value):
                yield subject.at_node(node, f"{port} {problem}", "give another value")


def _misfit(port: Port, value: object) -> str:
    """What is wrong with a value for a port, or nothing."""
    if port.type in DATA_TYPES or value is None:
        return ""
    if port.choices:
        known = ", ".join(port.choices)
        return "" if str(value) in port.choices else f"is {value!r}, and not one of {known}"
    if port.type not in ("integer", "number"):
        return ""
    try:
        number = float(str(value))
    except ValueError:
        return f"is {value!r}, and no {port.type}"
    if port.least is not None and number < port.least:
        return f"is {value}, and less than {port.least:g}"
    if port.most is not None and number > port.most:
        return f"is {value}, and more than {port.most:g}"
    return ""
