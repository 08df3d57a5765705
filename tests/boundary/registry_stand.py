"""A local registry with two models and their chains; what `verify` finds is told."""

import re
from typing import Any

from mlflow import MlflowClient
from toy_chain import Chain
from ways import Way

PREFIX = "tfhub_blocks."


class RegisteredStand:
    """The models toy:1 and toy:2; the ways are tried on toy:2."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        address = f"sqlite:///{chain.folder}/.runs/mlflow.db"
        self.client = MlflowClient(address, address)

    def tags(self, version: str) -> dict[str, str]:
        """The tags of a version, without their prefix."""
        found = self.client.get_model_version("toy", version).tags
        return {key.removeprefix(PREFIX): value for key, value in found.items()}

    def tag(self, **tags: str) -> None:
        """Set tags of toy:2."""
        for name, value in tags.items():
            self.client.set_model_version_tag("toy", "2", PREFIX + name, value)

    def remove(self, tag: str, name: str = "toy", version: str = "2") -> None:
        """Remove a tag of a model."""
        self.client.delete_model_version_tag(name, version, PREFIX + tag)

    def copied(self, name: str) -> str:
        """Register the files of toy:2 under another name with the same tags; its name there."""
        made = self.client.get_model_version("toy", "2")
        self.client.create_registered_model(name)
        copy = self.client.create_model_version(name, made.source, made.run_id, tags=made.tags)
        return f"{name}:{copy.version}"

    def refusal_of(self, way: Way) -> str:
        """The first fault that verify finds."""
        what: Any = way.act(self) or "toy:2"
        outcome = self.chain.main("verify", what, anew=False)
        assert outcome.status == 1, outcome.out
        faults = [line for line in outcome.out.splitlines() if line.startswith("fault ")]
        text = self.chain.normal(faults[0]).removeprefix("fault ")
        return re.sub(r"mlflow/\d+/\w+", "mlflow/ID", text) + "\n"
