"""The file system of Azure ML's jobs: outputs that Azure's own data runtime mounts.

The runtime of the versions in ``requirements/mount.lock`` mounts folders of Azurite, in namespaces
of a process of its own (``mount_session.py``).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopback.contract import ROOT
from loopback.storage import missing_program

RUNTIME = ROOT / ".mount"
PROGRAMS = ("unshare", "setpriv", "mount", "umount", "ip")


@dataclass(frozen=True)
class Finished:
    """A process that ended: its exit status (negative for a signal) and its output."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Command:
    """A command to run next to the mounts."""

    argv: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


class MountSession:
    """Mounts, and processes that see them."""

    def __init__(self) -> None:
        """Start the storage; mounts follow when they are asked for."""
        users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        script = Path(__file__).with_name("mount_session.py")
        self._process = subprocess.Popen(
            [
                *("unshare", *users, "--mount", "--net", "--"),
                *(sys.executable, "-B", script, ROOT / ".azurite", RUNTIME / "bin" / "python"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def mount(self, output: str) -> Path:
        """Mount an output, as one more node of its job does."""
        return Path(self._ask("mount", output=output))

    def unmount(self, folder: Path, lose: bool = False) -> None:
        """End a mount; with ``lose``, its process is killed, as with a node that is lost."""
        self._ask("unmount", folder=str(folder), lose=lose)

    def run(self, *commands: Command, kill_at: int | None = None) -> tuple[list[Finished], int]:
        """Run commands at once, and return how they ended and the number of changes in storage.

        With ``kill_at``, they are killed when storage has answered so many changes.
        """
        sent = [
            {
                "argv": [str(each) for each in command.argv],
                "folder": str(command.folder),
                "environment": dict(command.environment),
            }
            for command in commands
        ]
        answer = self._ask("run", commands=sent, kill_at=kill_at)
        return [Finished(**each) for each in answer["processes"]], answer["changes"]

    def copy(self, output: str, target: Path) -> Path:
        """Copy what storage contains of an output to a local folder, through a new mount."""
        folder = self.mount(output)
        (done,), _ = self.run(Command(["cp", "-r", str(folder), str(target)], target.parent))
        assert done.status == 0, done.stderr
        self.unmount(folder)
        return target

    def stop(self) -> None:
        """End all mounts and the storage."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, operation: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        request = {"operation": operation, "arguments": arguments}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._read()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the session of mounts ended with status {self._process.wait()}"
        return json.loads(line)


def missing_part() -> str:
    """Return the reason why nothing can be mounted here, or an empty text."""
    if reason := missing_program(ROOT / ".azurite"):
        return reason
    if not (RUNTIME / "installed").is_file():
        return "Azure's data runtime is not in .mount/. Run `make mount-runtime`"
    if lacking := [name for name in PROGRAMS if not shutil.which(name)]:
        return f"{', '.join(lacking)} is missing. Install util-linux and iproute2"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened. Run the tests where FUSE is allowed"
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    tried = subprocess.run(
        ["unshare", *users, "--mount", "--net", "--", "true"], capture_output=True, check=False
    )
    if tried.returncode:
        return "Namespaces are forbidden. Run the tests where `unshare --mount --net` is allowed"
    return ""
