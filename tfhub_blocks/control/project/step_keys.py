"""The cache keys of steps: digests of everything that their outputs depend on."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.output_store import Stored, content_digest
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.step_graph import Node, OutputOf
from tfhub_blocks.records.base.digests import files_sha256, record_digest, tree_digest
from tfhub_blocks.records.environment import environment_drift
from tfhub_blocks.records.environment.installed_packages import environment_digest
from tfhub_blocks.records.pins import encoder_decisions


@dataclass
class StepKeys:
    """The cache keys of the steps of one run; several threads may call ``key`` at once.

    Each input folder is digested once.
    """

    run: str
    profile: Profile
    _environment: str = field(default_factory=environment_digest)
    _digests: dict[Path, str] = field(default_factory=dict)
    _digests_lock: threading.Lock = field(default_factory=threading.Lock)

    def parts(self, node: Node, made: Mapping[str, Stored], code: Path) -> dict[str, Any]:
        """Return everything that the outputs of a step depend on, JSON-ready."""
        contents = {}
        for port, value in node.inputs.items():
            if isinstance(value, OutputOf):
                contents[port] = made[value.node].digests[value.port]
            elif isinstance(value, Path):
                contents[port] = self._input_digest(value)
            else:
                contents[port] = node.text(port, value)
        # A strict policy must not reuse an output from a run in which it was not in force.
        strict = [policy for policy in self._policies() if policy in ("refuse", "production")]
        parts: dict[str, Any] = {
            "code": tree_digest(files_sha256(code)),
            "environment": [node.environment, self._environment, *strict],
            "command": node.command,
            "inputs": contents,
            "outputs": dict(node.output_types),
        }
        if node.environment_variables:
            parts["variables"] = dict(node.environment_variables)
        return parts

    def key(self, node: Node, made: Mapping[str, Stored], code: Path) -> str:
        """Return the cache key of a step: a digest of code, environment, command and inputs.

        The key of a non-deterministic step includes the run's name.
        """
        return self.key_of(node, self.parts(node, made, code))

    def key_of(self, node: Node, parts: Mapping[str, Any]) -> str:
        """Return the cache key of a step from its parts."""
        key = record_digest(dict(parts))[:40]
        return key if node.deterministic else f"{key}-{self.run}"

    def _input_digest(self, path: Path) -> str:
        with self._digests_lock:
            if path not in self._digests:
                self._digests[path] = content_digest(path)
            return self._digests[path]

    def _policies(self) -> list[str]:
        """Return the policies in force: the profile's, else the environment's, else default."""
        defaults = {
            environment_drift.POLICY_VARIABLE: environment_drift.DEFAULT_POLICY,
            encoder_decisions.POLICY_VARIABLE: encoder_decisions.DEFAULT_POLICY,
        }
        return [
            self.profile.policies.get(name) or os.environ.get(name) or default
            for name, default in defaults.items()
        ]
