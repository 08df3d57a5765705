"""Bytecode that somebody plants: Python would run it in place of the source, and leave a marker."""

import importlib.machinery
from importlib._bootstrap_external import _code_to_hash_pyc
from pathlib import Path


def plant_bytecode(source: Path, path: Path, marker: Path) -> None:
    """Write bytecode that writes a marker and is then the source; nothing compares the two."""
    assert path.suffix in importlib.machinery.BYTECODE_SUFFIXES
    text = source.read_text() if source.is_file() else ""
    code = compile(f"open({str(marker)!r}, 'w').write('ran')\n{text}", str(source), "exec")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_code_to_hash_pyc(code, b"\0" * 8, False))
