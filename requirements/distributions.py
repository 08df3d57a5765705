"""Build both distributions into ``dist/``: with TensorFlow, and without (tfhub-blocks-control).

Both contain the same code. Install one of them, not both. Called by ``make dist``.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTROL = "tfhub-blocks-control"
SOURCES = (
    *("README.md", "LICENSE", "pyproject.toml"),
    *("components", "docs", "pipelines", "tfhub_blocks"),
)


def control_project(text: str) -> str:
    """Return the text of pyproject.toml for the distribution without TensorFlow.

    Raises:
        SystemExit: A package of ``not-for-control`` is no dependency of the project.
    """
    settings = tomllib.loads(text)
    left_out = settings["tool"]["tfhub-blocks"]["not-for-control"]
    for name in left_out:
        text, count = re.subn(rf'^  "{re.escape(name)}[=>\[][^"]*",\n', "", text, flags=re.M)
        if count != 1:
            sys.exit(
                f"error: [make dist > pyproject.toml] {name} of not-for-control is no dependency. "
                "Remove the name from not-for-control."
            )
    return text.replace('name = "tfhub-blocks"', f'name = "{CONTROL}"', 1)


def build(folder: Path, target: Path) -> None:
    """Build the wheel of a source tree."""
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "-w", target, "."], cwd=folder, check=True
    )


def build_distribution(name: str, target: Path) -> None:
    """Build one of the two wheels into a folder."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        for source in SOURCES:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tree / source, symlinks=True, ignore=ignored)
            else:
                shutil.copy(ROOT / source, tree / source)
        if name == CONTROL:
            project = tree / "pyproject.toml"
            project.write_text(control_project(project.read_text("utf-8")), "utf-8")
        build(tree, target)


def main() -> None:
    """Build both wheels and print their names, or print the project without TensorFlow."""
    if sys.argv[1:] == ["--pyproject"]:
        sys.stdout.write(control_project((ROOT / "pyproject.toml").read_text("utf-8")))
        return
    target = ROOT / "dist"
    shutil.rmtree(target, ignore_errors=True)
    for name in ("tfhub-blocks", CONTROL):
        build_distribution(name, target)
    print(*sorted(path.name for path in target.iterdir()), sep="\n")


if __name__ == "__main__":
    main()
