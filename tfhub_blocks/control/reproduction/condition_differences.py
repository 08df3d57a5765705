"""Differences in the conditions of a step's two runs: packages, Python, processor, and threads."""

# decision 36

import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfhub_blocks.control.reproduction.recorded_code import StepCode
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.environment.environment_drift import drift_from
from tfhub_blocks.records.environment.installed_packages import (
    environment_digest,
    installed_packages,
)
from tfhub_blocks.records.environment.machine_facts import (
    MachineFacts,
    machine_facts,
    read_machine_facts,
)
from tfhub_blocks.records.environment.package_locks import Lock

# Not the memory, on which no bit depends.
_MACHINE = {
    "type": "machine type",
    "processor": "processor",
    "instructions": "vector instructions",
    "cores": "cores (threads)",
    "variables": "environment variables",
    "blas": "BLAS",
}
_TENSORFLOW = {
    "version": "TensorFlow",
    "build": "TensorFlow's build",
    "threads": "TensorFlow's threads",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "gpus": "GPUs",
    "driver": "driver",
}
# The facts that are known before a step runs; the step itself loads BLAS.
_BEFORE = _MACHINE.keys() - {"blas"}


def differences_before(plan: ReproductionPlan) -> list[str]:
    """Return the known differences between the local machine and that of each step of a plan."""
    here = machine_facts()
    found: dict[str, list[str]] = {}
    for work in plan.works.values():
        if work.lineage is None:
            continue
        made = work.lineage.provenance
        texts = [*_package_differences(made, work.code), *_machine_differences(made, here)]
        for text in texts:
            found.setdefault(text, []).append(work.name)
    return _by_step(found)


def differences_after(plan: ReproductionPlan, rebuilt: Mapping[str, Provenance]) -> list[str]:
    """Return the differences between the first and the second run of a plan's steps.

    Args:
        plan: The plan, with the statements of the first run.
        rebuilt: The provenance of each step's outputs in the second run.
    """
    found: dict[str, list[str]] = {}
    for name, now in rebuilt.items():
        lineage = plan.works[name].lineage
        if lineage is None:
            continue
        for text in _fact_differences(lineage.provenance.facts, now.facts):
            found.setdefault(text, []).append(name)
    return _by_step(found)


def environments_after(plan: ReproductionPlan, rebuilt: Mapping[str, Provenance]) -> list[str]:
    """Return a line for each step of a plan whose second run had other packages installed."""
    return [
        f"the installed packages are not those of the first run ({name})"
        for name, now in rebuilt.items()
        if (lineage := plan.works[name].lineage)
        and lineage.provenance.environment_digest != now.environment_digest
    ]


def changed_packages(plan: ReproductionPlan) -> dict[str, str]:
    """Return the recorded version of each package that is missing locally or of another version."""
    here, found = installed_packages(), dict[str, str]()
    for work in plan.works.values():
        lock = work.code.lock if work.code else None
        if work.lineage and lock:
            then = _packages_then(work.lineage.provenance.facts.get("environment") or {}, lock)
            found |= {name: version for name, version in then.items() if here.get(name) != version}
    return dict(sorted(found.items()))


def locked_packages(plan: ReproductionPlan) -> set[tuple[str, str]]:
    """Return name and version of each package in the images of a plan's steps."""
    locks = [work.code.lock for work in plan.works.values() if work.code]
    return {package for lock in locks if lock for package in lock.target_versions().items()}


def _package_differences(made: Provenance, code: StepCode | None) -> Iterator[str]:
    if made.environment_digest == environment_digest():
        return
    recorded, lock = made.facts.get("environment") or {}, code.lock if code else None
    if lock is None or not recorded.get("python"):
        yield "the installed packages differ, and no lock lists the packages of the first run"
        return
    here = installed_packages()
    if recorded["python"] != platform.python_version():
        yield f"Python was {recorded['python']}, locally it is {platform.python_version()}"
    for name, version in sorted(_packages_then(recorded, lock).items()):
        if here.get(name) != version:
            yield f"{name} was {version}, locally it is {here.get(name, 'missing')}"
    for name in sorted((recorded.get("missing") or {}).keys() & here.keys()):
        yield f"{name} was not installed, locally it is {here[name]}"
    if recorded.get("extra") != drift_from(lock).as_dict()["extra"]:
        yield "the packages outside of the lock differ"


def _packages_then(recorded: Mapping[str, Any], lock: Lock) -> dict[str, str]:
    """Return the installed packages of a lock, corrected by the drift that the step recorded."""
    missing, other = recorded.get("missing") or {}, recorded.get("other") or {}
    return {
        name: other[name][1] if name in other else version
        for name, version in lock.versions().items()
        if name not in missing
    }


def _machine_differences(made: Provenance, here: MachineFacts) -> Iterator[str]:
    machine = made.facts.get("machine")
    if machine is None:
        yield "the machine was not recorded: an earlier version of tfhub-blocks ran the step"
        return
    known = {key: title for key, title in _MACHINE.items() if key in _BEFORE}
    yield from _machine_changes(read_machine_facts(machine), here, known)


def _fact_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if "machine" in then and "machine" in now:
        machine = read_machine_facts(then["machine"])
        yield from _machine_changes(machine, read_machine_facts(now["machine"]), _MACHINE)
    before, after = ((it.get("environment") or {}).get("tensorflow") for it in (then, now))
    if before and after:
        yield from _changes(before, after, _TENSORFLOW)
    before, after = ((it.get("engine") or {}).get("kind") for it in (then, now))
    if before != after:
        yield f"engine: was {before}, locally {after}"


def _machine_changes(
    then: MachineFacts, now: MachineFacts, titles: Mapping[str, str]
) -> Iterator[str]:
    return _changes(then.as_record(), now.as_record(), titles)


def _changes(
    then: Mapping[str, Any], now: Mapping[str, Any], titles: Mapping[str, str]
) -> Iterator[str]:
    for key, title in titles.items():
        if key in then and then[key] != now.get(key):
            if key == "instructions":
                yield _instructions(then[key].split(), str(now.get(key, "")).split())
            else:
                yield f"{title}: was {_short(then[key])}, locally {_short(now.get(key))}"


def _instructions(then: Iterable[str], now: Iterable[str]) -> str:
    lacking, more = sorted(set(then) - set(now)), sorted(set(now) - set(then))
    texts = [f"without {' '.join(lacking)}"] if lacking else []
    texts += [f"with {' '.join(more)}"] if more else []
    return f"vector instructions: locally {' and '.join(texts)}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={it}" for key, it in sorted(value.items())) or "none"
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"
    return "not recorded" if value in (None, "") else str(value)


def _by_step(found: Mapping[str, list[str]]) -> list[str]:
    return [f"{text} ({', '.join(names)})" for text, names in found.items()]
