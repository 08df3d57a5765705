"""The zip file in a model that contains the model's Python source."""

# decision 58

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

# The first moment that a zip file can state, so that equal programs have equal bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


def program_name(kind: str, source: bytes) -> str:
    """Return the module name of a program, which contains a digest of its source.

    Python keeps one module per name. So two models in one process share a program only if the
    source is the same.
    """
    return f"tfhub_blocks_{kind}_{hashlib.sha256(source).hexdigest()[:16]}"


def write_archive(path: Path, sources: Mapping[str, bytes]) -> None:
    """Write source files into an uncompressed zip file. Equal sources give equal bytes.

    Args:
        path: The zip file.
        sources: The source by file name.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, sources[name])
