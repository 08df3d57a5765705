"""Licences of encoders, from the files in their folders."""

import re
from pathlib import Path

UNKNOWN = "unknown"
NAMES = re.compile(r"(licen[cs]e|copying)([-_.].*)?", re.IGNORECASE)
CHARACTERS = 20_000
# A phrase that only one licence contains, by the SPDX identifier of the licence.
SAYINGS = {
    "Apache-2.0": r"apache license,?\s+version 2\.0",
    "MIT": r"permission is hereby granted, free of charge, to any person",
    "BSD-3-Clause": r"neither the name .* nor the names of its\s+contributors",
    "CC-BY-4.0": r"creative commons attribution 4\.0",
    "CC-BY-SA-4.0": r"creative commons attribution-sharealike 4\.0",
}


def find_licence(folder: Path) -> str:
    """Return the SPDX identifier of the licence in a folder, its first line, or "unknown"."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and NAMES.fullmatch(path.name):
            text = path.read_text(encoding="utf-8", errors="replace")[:CHARACTERS]
            for identifier, saying in SAYINGS.items():
                if re.search(saying, " ".join(text.split()), re.IGNORECASE):
                    return identifier
            lines = filter(None, map(str.strip, text.splitlines()))
            return next(lines, UNKNOWN)[:100]
    return UNKNOWN
