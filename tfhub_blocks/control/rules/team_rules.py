"""Rules for teams: several teams share one workspace, and one team can change its steps."""

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
    why="without an owner no one stops a job, and without a cost centre no one pays for it",
    trial="warning",
)
def team_owner(subject: Subject) -> Iterator[Finding]:
    """Find missing owners and cost centres, which `submit` sets on each job as tags."""
    for key, problem, _ in job_faults(subject.profile):
        remedy = "Set owner and cost_centre in [job], and the environment variables that they name"
        yield subject.at_profile(key, problem, remedy)


@rule(
    "team-names",
    demand="the names of a team's resources begin with its prefix",
    why="without the prefix the owner of a cluster, a model or a data asset is unknown",
    trial="warning",
)
def team_names(subject: Subject) -> Iterator[Finding]:
    """Find names without ``name_prefix`` of [job]; a profile without prefix demands nothing."""
    prefix = subject.profile.job.name_prefix if subject.profile.job else ""
    for kind, name, finding in _names(subject) if prefix else ():
        if not name.startswith(prefix):
            yield Finding(
                f"{kind} {name} does not begin with {prefix}",
                f"Rename it to {prefix}{name}",
                finding.node,
                finding.pipeline,
                finding.place,
            )


def _names(subject: Subject) -> Iterator[tuple[str, str, Finding]]:
    """Yield kind, name and place of all resources that a pipeline and its profile create."""
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
    demand="no two pipelines share a name or location that one of them may change",
    why="one experiment changes the data or models of another, and neither notices",
    trial="warning",
)
def team_assets(subject: Subject) -> Iterator[Finding]:
    """Find model names that two pipelines register, and changing locations that two read."""
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
                    f"the pipeline {verb} {name}, and so does pipeline {other.pipeline}",
                    "Use another name in one of the two, or read an exact version",
                    finding.node,
                    finding.pipeline,
                    finding.place,
                )


def _models(subject: Subject) -> Iterator[tuple[str, Finding]]:
    """Yield each name under which the pipeline registers models."""
    for node in subject.nodes:
        name = subject.values(node).get(_NAME_PORT)
        if name and effects(subject.steps[node.component], subject.sources):
            yield str(name), subject.at_node(node, "", "")


def _places(subject: Subject) -> Iterator[tuple[str, Finding]]:
    """Yield each location that the pipeline reads and whose content may change."""
    for data in subject.data() if subject.is_remote else ():
        if data.is_address:
            yield told(data.address), subject.at_data(data, "", "")


@rule(
    "team-ports",
    demand="the values and outputs that a pipeline binds fit the ports of its steps",
    why="a changed component breaks pipelines that its author did not check",
)
def team_ports(subject: Subject) -> Iterator[Finding]:
    """Find types and values that do not fit a port; a removed port does not compile anyway."""
    for node in subject.nodes:
        ports = subject.steps[node.component].inputs
        for port, value in node.inputs.items():
            if isinstance(value, OutputOf):
                maker = subject.graph.nodes[value.node]
                given = maker.output_types.get(value.port, "nothing")
                if given != ports[port].type:
                    problem = (
                        f"{port} takes {ports[port].type}, and {value.node} writes {given} at "
                        f"{value.port}"
                    )
                    remedy = f"Bind another output to {port}, or change a port's type"
                    yield subject.at_node(node, problem, remedy)
        for port, value in subject.values(node).items():
            if problem := _misfit(ports[port], value):
                yield subject.at_node(node, f"{port} {problem}", f"Set another value for {port}")


def _misfit(port: Port, value: object) -> str:
    """Return the reason why a value does not fit a port, or an empty text."""
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
