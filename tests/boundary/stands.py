"""What ways are tried on: each gives what is told when a way is refused."""

import json
import os
import re
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from toy_pins import toy_pin
from toy_project import ToyProject
from ways import Way

from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Provenance
from tfhub_blocks.records.formats.champion_comparison import ChampionComparison
from tfhub_blocks.records.formats.evidence import Evidence, Threshold
from tfhub_blocks.records.formats.models import MODEL
from tfhub_blocks.records.pins.pins import PIN_NAME, Decisions

MADE = Provenance("train_head", {}, (), "0" * 64, "0" * 64, "", "")
SUBMIT = ("submit", "first", "--profile", "strict")


@dataclass
class Outside:
    """All that is not this machine: it counts who asks, and refuses."""

    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> "Outside":
        asked = self.asked

        class Refuse(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(403)

            do_CONNECT = do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Refuse)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self) -> dict[str, str]:
        """The variables that let each request of the SDK come here."""
        url = f"http://127.0.0.1:{self.server.server_port}"
        return {"HTTPS_PROXY": url, "IDENTITY_ENDPOINT": f"{url}/token", "IDENTITY_HEADER": "x"}


class ReleaseStand(ToyProject):
    """A project with the committed lock of a release; whoever asks a workspace got through."""

    def __init__(
        self, folder: Path, capture: Any, monkeypatch: pytest.MonkeyPatch, outside: Outside
    ) -> None:
        super().__init__(folder, capture)
        self.monkeypatch, self.outside = monkeypatch, outside
        names = ("subscription_id", "resource_group", "workspace_name")
        self.write("config.json", json.dumps(dict.fromkeys(names, "production")))
        for name, value in outside.environment().items():
            monkeypatch.setenv(name, value)

    def refusal_of(self, way: Way) -> str:
        """What is told of a way that is refused."""
        outcome = self.main(*(way.act(self) or SUBMIT))
        assert outcome.status != 0, outcome.out
        assert self.outside.asked == [], outcome.err
        assert "Traceback" not in outcome.err
        return plain(outcome.err, self.folder)


def plain(text: str, folder: Path) -> str:
    """Text without what differs from place to place and from time to time."""
    text = text.replace(str(folder), "PROJECT").replace(str(folder.parent), "BESIDE")
    text = re.sub(r"judged-\d{8}T\d{6}Z(-\w+)?", "judged-TIME", text)
    # What else is installed is none of the toy's business.
    text = re.sub(r"one of [\w, ]+, judged", "one of ..., judged", text)
    return re.sub(r"\b[0-9a-f]{40,64}\b|\b[0-9a-f]{12}…?|\b[0-9a-f]{8}…", "DIGEST", text)


class ModelStand:
    """A model and its evidence, which are given to the step that registers models."""

    def __init__(self, folder: Path, capture: Any) -> None:
        self.folder, self.capture = folder, capture
        self.model, self.evidence = folder / "model", folder / "evidence.json"
        self.champion: Path | None = None
        self.variables: dict[str, str] = {}
        self.digest = self.make(self.model, "7")
        thresholds = (Threshold("accuracy", 0.9, 0.95, True),)
        Evidence(self.digest, {}, {}, thresholds).write(self.evidence)

    def make(self, folder: Path, weights: str) -> str:
        """Make a model; its digest."""
        partial = begin_folder(folder, MADE)
        labels = {"labels": ["a"], "encoder_digest": "e", "snapshot_digest": "s"}
        (partial / "MLmodel").write_text(json.dumps({"metadata": labels}))
        (partial / "weights").write_text(weights)
        decisions = Decisions("mounted", "allowed", "batch")
        toy_pin("e", "https://tfhub.dev/e/1", partial, decisions).write(partial / PIN_NAME)
        return finish_folder(folder, "model", MODEL, MADE).digest

    def compare(self, **other: Any) -> None:
        """Let the evidence compare with a champion, which the step is given from now on."""
        self.champion = self.folder / "champion"
        gain = {"accuracy": {"value": 0.1, "low": 0.05, "high": 0.15}}
        digest = self.make(self.champion, "6")
        found = ChampionComparison(digest, "s", "s", 100, 12, 2, {}, gain)
        thresholds = (Threshold("min_accuracy_gain", 0.02, 0.05, True),)
        found, digests = replace(found, **other), {"snapshot": "s"}
        Evidence(self.digest, digests, {}, thresholds, comparison=found).write(self.evidence)

    def restate(self, model: Path | None = None) -> None:
        """Let a model's statement say what its files are now."""
        model = model or self.model
        files = files_sha256(model)
        del files[STATEMENT_NAME]
        Lineage("model", str(MODEL), files, MADE).write(model)

    def register(self) -> int:
        """Run the step; its status."""
        from tfhub_blocks.components.register_model import component

        registration = self.folder / "registration.json"
        given = (str(self.model), str(self.evidence), str(registration), "toys", "us")
        try:
            with patch.dict(os.environ, self.variables):
                component.register_model.__wrapped__(
                    *given, champion=self.champion and str(self.champion)
                )
        except SystemExit as end:
            assert not registration.exists()
            return int(end.code or 0)
        return 0

    def refusal_of(self, way: Way) -> str:
        """What the step tells."""
        way.act(self)
        self.capture.readouterr()
        assert self.register() == 1
        return plain(self.capture.readouterr().err, self.folder)
