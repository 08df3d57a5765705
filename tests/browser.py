"""A real browser without a screen: Chromium, told what to do over its DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Where `make browser` installs npm's Chromium if the machine has no browser.
_OF_NPM = Path(__file__).parents[1] / ".browser"
# The Makefile has the same, in BROWSERS.
NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, (*NAMES, str(_OF_NPM / "chromium")))), None)
MISSING = (
    "No Chromium is installed. Run `make browser`: it installs npm's, and reports what fails; or "
    "install one (on Debian: apt-get install chromium-headless-shell)"
)
_OPTIONS = (
    "--headless",
    "--no-sandbox",  # root has none; only pages of ours are opened
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
PATIENCE_S = 60


class Page:
    """One tab; ``requests`` are the URLs that it asked, ``complaints`` what it had to say."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb")
        self._buffer, self._count, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a method."""
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._count, "method": method, "params": parameters, **session}
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            while b"\0" not in self._buffer:
                part = os.read(self._from.fileno(), 1 << 20)
                assert part, "the browser is gone"
                self._buffer += part
            text, _, self._buffer = self._buffer.partition(b"\0")
            told = json.loads(text)
            if told.get("id") == self._count:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def _note(self, event: dict[str, Any]) -> None:
        kind, facts = event.get("method"), event.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif kind == "Log.entryAdded":
            self.complaints.append(facts["entry"]["text"])
        elif kind == "Runtime.exceptionThrown":
            self.complaints.append(str(facts["exceptionDetails"]))

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        given = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in given, given
        return given["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        until = time.monotonic() + PATIENCE_S
        while not (value := self.run(script)):
            assert time.monotonic() < until, (script, self.run("document.body.innerText"))
            time.sleep(0.05)
        return value

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file in an input, as in its dialogue."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def drop(self, selector: str, file: Path) -> None:
        """Drag a file from outside onto an element, and let it go."""
        x, y = self.run(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def type_into(self, selector: str, text: str) -> None:
        """Type at the end of what an element holds."""
        self.run(f"document.querySelector({selector!r}).focus()")
        self.send("Input.insertText", text=text)

    def screenshot(self) -> bytes:
        """A PNG of what is seen."""
        return base64.b64decode(self.send("Page.captureScreenshot")["data"])


def _variables() -> dict[str, str]:
    """Return the variables by which npm's Chromium finds its own libraries and fonts."""
    if not PROGRAM or Path(PROGRAM).parent != _OF_NPM:
        return {}
    return {"LD_LIBRARY_PATH": str(_OF_NPM / "lib"), "FONTCONFIG_PATH": str(_OF_NPM)}


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """A tab of a browser that keeps its files in a folder; the browser ends with it."""
    assert PROGRAM
    their_input, to_browser = os.pipe()
    from_browser, their_output = os.pipe()
    # It reads 3 and writes 4, whatever numbers the pipes have.
    command = f'exec "$0" "$@" 3<&{their_input} 4>&{their_output}'
    process = subprocess.Popen(
        ["bash", "-c", command, PROGRAM, *_OPTIONS, f"--user-data-dir={folder}"],
        pass_fds=(their_input, their_output),
        env=os.environ | _variables(),
        stderr=subprocess.DEVNULL,
    )
    os.close(their_input)
    os.close(their_output)
    try:
        yield Page(to_browser, from_browser)
    finally:
        process.kill()
        process.wait()
