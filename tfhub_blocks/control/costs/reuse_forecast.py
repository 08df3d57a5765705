"""What reuse saves: steps that were made already, by the content that they are made of."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tfhub_blocks.control.project.output_store import Store, Stored, content_digest
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_records import COMPLETED, past_runs
from tfhub_blocks.control.project.step_graph import Graph, OutputOf
from tfhub_blocks.control.project.step_keys import StepKeys
from tfhub_blocks.records.base.digests import record_digest


def made_steps(graph: Graph, profile: Profile, folder: Path) -> dict[str, str]:
    """Where each step comes from that would not run again, in words, by its name.

    On this machine that is what the store has, as its records say: unlike in a run, nothing is
    read in full. On Azure ML it is what a job made that was sent from here under the same profile;
    there Azure has the last word.

    Args:
        graph: The steps.
        profile: Where they would run.
        folder: ``.runs``.
    """
    if profile.engine == "local":
        return dict.fromkeys(_stored(graph, profile, folder), "the store")
    if not any(folder.glob("jobs/*")):
        return {}
    from tfhub_blocks.control.project.assets import component_asset

    entities = {node.component: node.entity for node in graph.nodes.values()}
    digests = {name: component_asset(entity).digest for name, entity in entities.items()}
    keys = step_keys(graph, profile, digests)
    made: dict[str, str] = {}
    for _, record in past_runs(folder):
        for step in record.steps.values():
            if step.key and step.status == COMPLETED:
                made.setdefault(step.key, record.run)
    return {name: made[key] for name, key in keys.items() if key in made}


def _stored(graph: Graph, profile: Profile, folder: Path) -> dict[str, Stored]:
    keys, store = StepKeys("", profile), Store(folder / "store")
    made: dict[str, Stored] = {}
    for node in graph.nodes.values():
        if node.deterministic and node.needs <= made.keys():
            with TemporaryDirectory() as scratch:
                node.write_code(Path(scratch) / "code")
                key = keys.key(node, made, Path(scratch) / "code")
            if stored := store.peek(key):
                made[node.name] = stored
    return made


def step_keys(
    graph: Graph,
    profile: Profile,
    components: Mapping[str, str],
    content: Callable[[Path], str] = content_digest,
) -> dict[str, str]:
    """What each step's outputs on Azure ML are a function of, as a digest; deterministic ones only.

    A step that needs one without a key has none.

    Args:
        graph: The steps.
        profile: Where they would run; its budget makes no difference.
        components: The digest of each component, by its name.
        content: Gives the digest of data on this machine.
    """
    settings, keys = repr(replace(profile, budget=None)), dict[str, str]()
    for node in graph.nodes.values():
        if node.deterministic and node.needs <= keys.keys():
            keys[node.name] = record_digest(
                {
                    "component": components[node.component],
                    "profile": settings,
                    "limits": [node.timeout_s, node.instance_count],
                    "inputs": {port: _input(it, keys, content) for port, it in node.inputs.items()},
                }
            )[:40]
    return keys


def _input(value: object, keys: Mapping[str, str], content: Callable[[Path], str]) -> str:
    if isinstance(value, OutputOf):
        return f"{keys[value.node]}/{value.port}"
    return content(value) if isinstance(value, Path) else str(value)
