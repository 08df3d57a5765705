"""Writing of SavedModels whose bytes depend on the model alone."""

import re
import tempfile
from collections.abc import Callable, MutableMapping, MutableSequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from tfhub_blocks.compute.tf.tensorflow_setup import function_pb2, saved_model_pb2, tf
from tfhub_blocks.records.base.errors import BlocksError

NUMBER = re.compile(r"\d+")


def _renumbering(names: list[str]) -> Callable[[str], str]:
    """Return a function that replaces the numbers at the end of function names by ranks.

    The numbers come from a counter of the process, so they depend on all functions traced before.
    """
    owners: dict[str, list[str]] = {}
    for name in names:
        if (counted := re.search(r"_(\d+)$", name)) is not None:
            owners.setdefault(counted[1], []).append(name)
    ranks = {number: str(rank) for rank, number in enumerate(sorted(owners, key=int))}

    def renumbered(text: str) -> str:
        # The arguments of a loop contain the names of its functions.
        def rank(number: re.Match[str]) -> str:
            found = text[: number.end()].endswith(tuple(owners.get(number[0], ())))
            return ranks[number[0]] if found else number[0]

        return NUMBER.sub(rank, text)

    return renumbered


def _rewrite(message: Message, renumbered: Callable[[str], str]) -> None:
    """Renumber every text in the message, including the keys of maps."""
    for field, value in message.ListFields():
        if isinstance(value, str):
            setattr(message, field.name, renumbered(value))
        elif isinstance(value, Message):
            _rewrite(value, renumbered)
        elif isinstance(value, MutableMapping):
            _rewrite_map(value, renumbered)
        elif isinstance(value, MutableSequence) and isinstance(value[0], str):
            value[:] = [renumbered(text) for text in value]
        elif isinstance(value, MutableSequence) and isinstance(value[0], Message):
            for entry in value:
                _rewrite(entry, renumbered)


def _rewrite_map(entries: MutableMapping[Any, Any], renumbered: Callable[[str], str]) -> None:
    for entry in entries.values():
        if isinstance(entry, Message):
            _rewrite(entry, renumbered)
    new_keys = {key: renumbered(key) if isinstance(key, str) else key for key in entries}
    if all(key == new_key for key, new_key in new_keys.items()):
        return
    # All at once: a new key can be the old key of another entry.
    copies = {new_key: _copied(entries[key]) for key, new_key in new_keys.items()}
    entries.clear()
    for key, entry in copies.items():
        if isinstance(entry, Message):
            entries[key].CopyFrom(entry)
        else:
            entries[key] = renumbered(entry)


def _copied(value: Any) -> Any:
    if not isinstance(value, Message):
        return value
    copy = type(value)()
    copy.CopyFrom(value)
    return copy


def _drop_tensor_numbers(function: function_pb2.FunctionDef) -> None:
    """Drop the "names" of captured tensors: numbers of the same counter, which nothing reads."""
    for attributes in function.arg_attr.values():
        name = attributes.attr.get("_user_specified_name")
        if name is not None and name.s.isdigit():
            del attributes.attr["_user_specified_name"]


def _normalize(folder: Path) -> None:
    path = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in saved_model.meta_graphs:
        library = graph.graph_def.library
        _rewrite(graph, _renumbering([function.signature.name for function in library.function]))
        for function in library.function:
            _drop_tensor_numbers(function)
        library.function.sort(key=lambda function: function.signature.name)
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
    # The file contains a random id, and loading does not need it.
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def save_module(module: tf.Module, folder: Path, signatures: dict[str, Any]) -> None:
    """Write a SavedModel with the same bytes from every process that traces the same functions.

    Two additions of TensorFlow are removed: the random id in ``fingerprint.pb``, and the numbers of
    functions and captured tensors, which are counted over the process. The names of lookup tables
    keep such numbers, so a module with tables gives the same bytes only in processes with the same
    history. The folder is complete or absent.

    Args:
        module: The module to save; ``tf.saved_model.load`` returns it.
        folder: The folder to write, absent or empty.
        signatures: Functions with an input signature, by signature name.

    Raises:
        BlocksError: The folder is not empty.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise BlocksError(
            "save_module",
            str(folder),
            f"folder {folder} contains files already",
            "an absent or empty folder",
            "Pass another folder, or delete this one",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        unfinished = Path(temporary) / folder.name
        tf.saved_model.save(module, str(unfinished), signatures=signatures)
        _normalize(unfinished)
        unfinished.replace(folder)
