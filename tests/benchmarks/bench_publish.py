"""Publishing twelve steps to Azure ML on loopback, against what people write by hand.

The peer is a loop of `ml_client.components.create_or_update` over the same steps, and of
`environments.create_or_update` over their environments. Both start from an empty workspace, then
again with everything there.
"""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "azureml"), str(ROOT)]
STEPS, LIMIT_S, START_S = 12, 20.0, 10.0


def main() -> int:
    from loopback.control_plane import ControlPlane
    from loopback.storage import missing_program

    if missing := missing_program(ROOT / ".azurite"):
        print(missing)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        plane = ControlPlane(Path(scratch) / "plane", ROOT / ".azurite")
        plane.folder.mkdir()
        started = time.monotonic()
        plane.start()
        start_s = time.monotonic() - started
        print(f"the servers start in {start_s:.1f} s; at most {START_S:.0f} s asked for")
        os.environ |= plane.environment()
        project = write_project(Path(scratch) / "project")
        os.chdir(project)
        plane.write_config(project)
        print(f"{'':<28}{'seconds':>9}{'requests':>10}{'bytes sent':>12}")
        seconds = {}
        for name, publish in (("tfhub-blocks publish", ours), ("a loop of the SDK's calls", peer)):
            plane.reset()
            plane.write_config(project)
            for when in ("empty", "again"):
                seconds[name, when] = measure(f"{name}, {when}", plane, publish)
        plane.stop()
    for when in ("empty", "again"):
        ratio = seconds["a loop of the SDK's calls", when] / seconds["tfhub-blocks publish", when]
        print(f"ratio, {when}: {ratio:.2f}")
    took = seconds["tfhub-blocks publish", "empty"]
    print(f"{STEPS} steps in {took:.1f} s; at most {LIMIT_S:.0f} s asked for")
    return int(took > LIMIT_S or start_s > START_S)


def write_project(folder: Path) -> Path:
    """The steps of this repository, and copies of one until there are twelve."""
    shutil.copytree(ROOT / "components", folder / "components")
    own = sorted(path.parent.name for path in folder.glob("components/*/component.py"))
    for number in range(STEPS - len(own)):
        name = f"register_copy_{number}"
        text = (folder / "components/register_model/component.py").read_text()
        (folder / "components" / name).mkdir()
        renamed = text.replace("def register_model", f"def {name}")
        renamed = renamed.replace("step(register_model", f"step({name}")
        (folder / "components" / name / "component.py").write_text(renamed)
    return folder


def measure(title: str, plane: object, publish: Callable[[object], None]) -> float:
    for name in [n for n in sys.modules if n.startswith("tfhub_blocks.components")]:
        del sys.modules[name]
    plane.recorder.clear()
    started = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        publish(plane)
    took = time.monotonic() - started
    requests, sent = len(plane.recorder.requests), plane.recorder.uploaded_bytes
    print(f"{title:<28}{took:>9.1f}{requests:>10}{sent:>12}", flush=True)
    return took


def ours(_: object) -> None:
    from tfhub_blocks.cli import main as command

    assert command(["publish"]) == 0


def peer(plane: object) -> None:
    from azure.ai.ml.entities import BuildContext, Environment

    from tfhub_blocks import components
    from tfhub_blocks.control.environments.environment_catalog import find_environments

    client = plane.client()
    for environment in find_environments():
        client.environments.create_or_update(
            Environment(
                name=environment.definition.name,
                version=environment.definition.version,
                build=BuildContext(path=str(environment.folder)),
            )
        )
    for name in components.names():
        client.components.create_or_update(getattr(components, name))


if __name__ == "__main__":
    sys.exit(main())
