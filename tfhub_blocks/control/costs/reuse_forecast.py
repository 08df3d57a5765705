"""A forecast of reuse: steps whose outputs exist already, found by cache key."""

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
    """Return the source of each step that would not run again, in words, by the step's name.

    For a local run the source is the store, by its records: unlike in a run, no output is read in
    full. On Azure ML the source is a job that was submitted from here under the same profile; Azure
    itself decides about reuse.

    Args:
        graph: The steps.
        profile: The machines and limits.
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
    """Return the cache key of each deterministic step on Azure ML, as a digest.

    A step that depends on a step without a key has none.

    Args:
        graph: The steps.
        profile: The machines and limits; the budget does not change a key.
        components: The digest of each component, by its name.
        content: A function that returns the digest of local data.
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
