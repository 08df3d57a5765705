"""A storage account with mounts, in namespaces of its own; serves requests of a test process.

``mounted_job.py`` starts it with ``unshare``. There, ``/etc/hosts`` names this machine as the
storage account, Azurite listens at port 443, and nothing reaches another machine. Each line of
standard input is a request in JSON, and each line of standard output an answer.
"""

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "azureml"))

from loopback.certificates import make_certificates
from loopback.storage import ACCOUNT, HOST, Storage

CONTAINER = "azureml-blobstore"
START_S = 60.0
STOP_S = 30.0
# What a mount asks storage to change: a blob is written, copied or deleted.
WRITES = re.compile(rb'"(?:PUT|DELETE) [^"]*" 20[0-9]')
POLL_S = 0.002


class Session:
    """The storage, and the mounts of a test session."""

    def __init__(self, scratch: Path, azurite: Path, runtime: Path) -> None:
        """Start the storage."""
        self.scratch, self.runtime = scratch, runtime
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        hosts = scratch / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {HOST}\n")
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        self.certificates = make_certificates(scratch, ["localhost", HOST])
        self.storage = Storage(azurite, self.certificates, scratch, port=443, quiet=False)
        self.storage.start()
        self.storage.wait()
        self.storage.service.create_container(CONTAINER)
        self.log = scratch / "azurite.log"
        self.mounts: dict[str, subprocess.Popen[bytes]] = {}

    def mount(self, output: str) -> str:
        """Mount an output, by a process of its own, as on one node of a job."""
        own = self.scratch / f"node{len(list(self.scratch.glob('node*')))}"
        folder = own / "output"
        folder.mkdir(parents=True)
        address = f"wasbs://{CONTAINER}@{HOST}/azureml/{output}/"
        program = Path(__file__).with_name("data_runtime_mount.py")
        with (own / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *(self.runtime, program, address, folder, own / "cache"),
                ],
                cwd=own,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(own),
                    "TMPDIR": str(own),
                    "SSL_CERT_FILE": str(self.certificates.authority),
                    "STORAGE_TOKEN": bearer_token(),
                },
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        limit = time.monotonic() + START_S
        while not folder.is_mount():
            if process.poll() is not None or time.monotonic() > limit:
                text = (own / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the data runtime did not mount {output}: {text}")
            time.sleep(0.05)
        self.mounts[str(folder)] = process
        return str(folder)

    def unmount(self, folder: str, lose: bool = False) -> None:
        """End a mount; with ``lose``, as if its node was lost."""
        process = self.mounts.pop(folder)
        if lose:
            process.kill()
        elif process.stdin is not None:
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()
        subprocess.run(["umount", "--lazy", folder], stderr=subprocess.DEVNULL, check=False)

    def run(self, commands: list[dict[str, Any]], kill_at: int | None = None) -> dict[str, Any]:
        """Run commands at once; kill them all at the given number of changes in storage."""
        start = self.log.stat().st_size
        processes = [
            subprocess.Popen(
                command["argv"],
                cwd=command["folder"],
                env=command["environment"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for command in commands
        ]
        watch = threading.Thread(target=self._kill, args=(processes, start, kill_at))
        if kill_at is not None:
            watch.start()
        with ThreadPoolExecutor(len(processes)) as pool:
            texts = list(pool.map(lambda process: process.communicate(), processes))
        if kill_at is not None:
            watch.join()
        done = [
            {"status": process.returncode, "stdout": out, "stderr": err}
            for process, (out, err) in zip(processes, texts, strict=True)
        ]
        return {"processes": done, "changes": self._changes(start)}

    def _changes(self, start: int) -> int:
        with self.log.open("rb") as file:
            file.seek(start)
            return len(WRITES.findall(file.read()))

    def _kill(
        self, processes: list["subprocess.Popen[str]"], start: int, number: int | None
    ) -> None:
        assert number is not None
        while any(process.poll() is None for process in processes):
            if self._changes(start) >= number:
                for process in processes:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                return
            time.sleep(POLL_S)


def bearer_token() -> str:
    """Return a bearer token for a day. Azurite accepts it, because it checks no signature."""
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 24 * 3600,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    encoded = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, secrets.token_hex(8)])


def main() -> None:
    """Serve requests until standard input ends."""
    azurite, runtime = (Path(argument) for argument in sys.argv[1:])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="tfhub-blocks-mounts-") as scratch:
        session = Session(Path(scratch), azurite, runtime)
        print(json.dumps({"account": ACCOUNT}), file=answers, flush=True)
        operations: dict[str, Callable[..., Any]] = {
            "mount": session.mount,
            "unmount": session.unmount,
            "run": session.run,
        }
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"answer": operations[request["operation"]](**request["arguments"])}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)
        for folder in list(session.mounts):
            session.unmount(folder)
        session.storage.stop()


if __name__ == "__main__":
    main()
