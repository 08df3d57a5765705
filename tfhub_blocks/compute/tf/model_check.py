"""The check of a SavedModel before it is loaded: its files, operations, constants and variables.

Nothing of the SavedModel is executed here; its protobufs are read.
"""

# decision 66

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from tfhub_blocks.compute.tf.computing_operations import (
    CHECKPOINT_OPERATIONS,
    COMPUTING,
    COMPUTING_TEXT,
    TABLE_OPERATIONS,
    reason_to_refuse,
)
from tfhub_blocks.compute.tf.graph_scopes import (
    MAIN,
    GraphScopes,
    Source,
    called,
    tensors_of,
)
from tfhub_blocks.compute.tf.tensorflow_setup import (
    checkpoint_shapes,
    registered_operations,
    saved_model_pb2,
    tf,
)
from tfhub_blocks.records.base.digests import is_safe_relative_path
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import SAVED_MODEL_NAME

# Protobuf reads no larger message.
MAX_PROTO_BYTES = 2**31 - 1
# Constants may need this much memory beyond the bytes of the file: a repeated value needs few.
MAX_EXPANDED_BYTES = 2**30
# TensorFlow reads these in place of, or in addition to, saved_model.pb.
OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")
SHOWN = 5
# Constant parts of the names of checkpoints, as TensorFlow's saver joins them.
_PARTS = re.compile(r"(_temp(_[0-9a-f]{32})?)?/part|\.part|model|")


def check_saved_model(
    saved_model: Path, where: str, allowed: Collection[str] = (), *, size_only: bool = False
) -> None:
    """Check a SavedModel before it is loaded.

    Args:
        saved_model: The folder of the SavedModel, without the folders below it.
        where: The command or step, for messages.
        allowed: Operations that a person allowed by name, in addition to those that compute.
        size_only: True to leave out the operations.

    Raises:
        BlocksError: An operation is not allowed, a file is not a SavedModel, or constants or
            variables claim more memory than the bytes of the files allow.
    """
    for name in OTHER_FORMS:
        if (saved_model / name).exists():
            problem = f"{name} is beside {SAVED_MODEL_NAME}, and TensorFlow may load it instead"
            raise _refused(where, saved_model / name, problem, f"only {SAVED_MODEL_NAME}")
    path = saved_model / SAVED_MODEL_NAME
    saved = read_saved_model(path, where)
    _check_constants(saved, path, where)
    _check_variables(saved_model, where)
    faults: dict[tuple[str, str], str] = {}
    for meta_graph in [] if size_only else saved.meta_graphs:
        for operation, place, reason in _faults(meta_graph, allowed):
            faults.setdefault((operation, place), reason)
    if faults:
        raise _not_allowed(faults, saved_model, where)


def read_saved_model(path: Path, where: str) -> Any:
    """Return the protobuf of a SavedModel.

    Raises:
        BlocksError: The file is absent, too large, or no SavedModel.
    """
    expected = f"a SavedModel of at most {MAX_PROTO_BYTES:,} bytes"
    try:
        if path.stat().st_size > MAX_PROTO_BYTES:
            raise _refused(where, path, f"the file has {path.stat().st_size:,} bytes", expected)
        return saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise BlocksError(
            where,
            str(path),
            f"TensorFlow {tf.__version__} cannot load this SavedModel ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:200]})",
            "",
            "Download the encoder again, because the copy may be incomplete",
        ) from error


def _faults(meta_graph: Any, allowed: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield operation, place and reason of each node that is not allowed."""
    scopes = GraphScopes(meta_graph)
    functions = scopes.nodes.keys() - {MAIN}
    for name in sorted(functions & (COMPUTING | registered_operations())):
        yield name, "the library", "is also the name of a function, which would hide it"
    for asset in meta_graph.asset_file_def:
        if not is_safe_relative_path(asset.filename):
            yield asset.filename, "the list of assets", "leaves the folder of assets"
    saver = _saver_scopes(scopes)
    for scope, node in scopes.all_nodes():
        for name in called(node):
            if name in functions or name in COMPUTING or name in COMPUTING_TEXT or name in allowed:
                continue
            reason = _reason(scopes, scope, node, name, saver)
            if reason:
                yield name, _place(meta_graph, scope), reason


def _reason(
    scopes: GraphScopes, scope: str, node: Any, name: str, saver: set[tuple[str, str]]
) -> str:
    """Return the reason to refuse an operation in a node, or an empty text."""
    data = [each for each in node.input if not each.startswith("^")]
    if name == node.op and name in TABLE_OPERATIONS:
        sources = _sources(scopes, scope, data, TABLE_OPERATIONS[name])
        if sources == {Source("asset")}:
            return ""
        texts = sorted(source.text for source in sources if source.kind == "text")
        return f"reads {texts[0]!r}" if texts else "reads a file that is no asset of the model"
    if name == node.op and name in CHECKPOINT_OPERATIONS:
        where = node.name if scope == MAIN else scope
        if (scope, where) not in saver:
            return "reads or writes files outside of the saver"
        sources = _sources(scopes, scope, data, CHECKPOINT_OPERATIONS[name])
        others = [s for s in sources if s.kind == "text" and not _PARTS.fullmatch(s.text)]
        if others:
            return f"reads or writes {others[0].text!r}"
        if Source("checkpoint") not in sources or not {s.kind for s in sources} <= {
            "checkpoint",
            "text",
        }:
            return "reads or writes a file that is not the model's checkpoint"
        return ""
    return reason_to_refuse(name)


def _sources(
    scopes: GraphScopes, scope: str, data: list[str], indexes: tuple[int, ...]
) -> set[Source]:
    tensors = [data[index] if index < len(data) else "" for index in indexes]
    return set().union(*(scopes.sources(scope, tensor) for tensor in tensors))


def _saver_scopes(scopes: GraphScopes) -> set[tuple[str, str]]:
    """Return the nodes and functions that only the saver reaches, as (scope, name)."""
    meta_graph = scopes.meta_graph
    saver = meta_graph.saver_def
    nodes = scopes.nodes_before({saver.save_tensor_name, saver.restore_op_name} - {""})
    named = {
        tensor.name
        for signature in meta_graph.signature_def.values()
        for tensor in (*signature.outputs.values(), *signature.inputs.values())
    }
    for collection in meta_graph.collection_def.values():
        named.update(collection.node_list.value)
    used = scopes.nodes_before(named)
    others = scopes.functions_below(set(meta_graph.object_graph_def.concrete_functions))
    others |= scopes.functions_of(set(scopes.nodes[MAIN]) - nodes | used)
    functions = scopes.functions_of(nodes) - others
    return {(MAIN, name) for name in nodes - used} | {(name, name) for name in functions}


def _place(meta_graph: Any, scope: str) -> str:
    tags = ", ".join(meta_graph.meta_info_def.tags)
    return f"function {scope}" if scope else f"the graph {tags}".strip()


def _check_constants(saved: Any, path: Path, where: str) -> None:
    limit = path.stat().st_size + MAX_EXPANDED_BYTES
    total = 0
    for meta_graph in saved.meta_graphs:
        for _, node in GraphScopes(meta_graph).all_nodes():
            for tensor in tensors_of(node):
                total += _bytes(tensor.dtype, [side.size for side in tensor.tensor_shape.dim])
                if total > limit:
                    problem = f"the constants up to {node.name} need {total:,} bytes of memory"
                    expected = f"at most {limit:,}, {MAX_EXPANDED_BYTES:,} more than the file has"
                    raise _refused(where, path, problem, expected)


def _check_variables(saved_model: Path, where: str) -> None:
    folder = saved_model / "variables"
    if not (folder / "variables.index").is_file():
        return
    stored = sum(path.stat().st_size for path in folder.glob("variables.data-*"))
    try:
        claimed = sum(_bytes(dtype, sides) for dtype, sides in checkpoint_shapes(folder))
    except Exception as error:  # TensorFlow fails in several ways, depending on the damage
        problem = f"the index cannot be read ({type(error).__name__})"
        expected = "an index that TensorFlow wrote"
        raise _refused(where, folder / "variables.index", problem, expected) from error
    if claimed > stored:
        problem = f"the variables claim {claimed:,} bytes, but the files have {stored:,}"
        raise _refused(where, folder, problem, "variables that the files contain")


def _bytes(dtype: int, sides: list[int]) -> int:
    total = 1
    for side in sides:
        total *= max(side, 0)
    try:
        # A string has a byte or more; others have a size.
        return total * max(tf.dtypes.as_dtype(dtype).size or 1, 1)
    except TypeError:  # an unknown type, which no kernel takes
        return total


def _not_allowed(faults: dict[tuple[str, str], str], saved_model: Path, where: str) -> BlocksError:
    told = [f"{name} in {place} {reason}" for (name, place), reason in faults.items()]
    more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    names = " ".join(f"--allow-op {name}" for name in dict.fromkeys(name for name, _ in faults))
    return BlocksError(
        where,
        str(saved_model),
        f"this SavedModel does more than compute: {'; '.join(told[:SHOWN])}{more}",
        "operations that compute, and files only in the saver and in tables of the model's assets",
        "Choose another encoder; or review these operations, and run `tfhub-blocks encoder pin "
        f"{names[:200]}`",
    )


def _refused(where: str, path: Path, problem: str, expected: str) -> BlocksError:
    remedy = "Do not load this SavedModel; download it again from a source that you know"
    return BlocksError(where, str(path), problem, expected, remedy)
