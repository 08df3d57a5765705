"""The program inside a model that decodes the model's items, without TensorFlow."""

# decision 75

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.records.formats.models import PROGRAM_NAME


def carried_decode(path: Path, encoder_input: Modality) -> Callable[[bytes], Any]:
    """Return the decoding function of the program that a model carries; every byte was checked.

    The program of an earlier version prepares items as that version did.
    """
    record = yaml.safe_load((path / "MLmodel").read_text(encoding="utf-8"))
    flavor = record["flavors"]["python_function"]
    config = flavor["config"]
    if name := config.get("decoder"):
        with zipfile.ZipFile(path / PROGRAM_NAME) as archive:
            source = archive.read(name)
    elif carried := (flavor.get("artifacts") or {}).get("decoder"):
        # Models of release 0.1 have the program as an artifact.
        name, source = carried["path"], (path / carried["path"]).read_bytes()
    else:
        return lambda content: content
    ours = encoder_input.decoder
    if ours is not None and source == ours.program.read_bytes():
        return encoder_input.decode
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(source, name, "exec"), namespace)  # noqa: S102 - checked bytes
    return partial(namespace["decode"], **config["decoder_options"])
