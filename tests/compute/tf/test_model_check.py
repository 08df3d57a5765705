"""SavedModels that do more than compute are refused by operation and place, before loading."""

from pathlib import Path
from typing import Any

import pytest

from tfhub_blocks.compute.tf import computing_operations
from tfhub_blocks.compute.tf.model_check import check_saved_model
from tfhub_blocks.compute.tf.saved_model_loading import load_checked
from tfhub_blocks.compute.tf.tensorflow_setup import (
    op_def_pb2,
    pywrap_tf_session,
    saved_model_pb2,
    tf,
)
from tfhub_blocks.records.base.errors import BlocksError

raw = tf.raw_ops
IMAGES = tf.TensorSpec([None, 4, 4, 3], tf.float32)


def save(folder: Path, body: Any, **more: Any) -> Path:
    """Save a module whose call returns its images plus what the body returns, as a float."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable(1.0)
            for name, value in more.items():
                setattr(self, name, value)

        @tf.function(input_signature=[IMAGES])
        def __call__(self, images):
            return tf.reduce_mean(images, [1, 2]) * self.weight + body()

    tf.saved_model.save(Module(), str(folder))
    return folder


def refusal(folder: Path, *allowed: str) -> str:
    with pytest.raises(BlocksError) as caught:
        check_saved_model(folder, "test", allowed)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder: Path, change: Any) -> Path:
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(model.meta_graphs[0])
    path.write_bytes(model.SerializeToString())
    return folder


def renamed(new: str) -> Any:
    """An edit that makes the first Mean of the functions another operation."""

    def change(graph: Any) -> None:
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.op == "Mean":
                    node.op = new

    return change


def size_of(text: Any) -> Any:
    return tf.cast(tf.strings.length(text), tf.float32)


def printed() -> Any:
    tf.print("x", output_stream="file://printed.txt")
    return 0.0


def written() -> Any:
    raw.WriteFile(filename="written.txt", contents="x")
    return 0.0


def records() -> Any:
    total = 0.0
    for record in tf.data.TFRecordDataset(["/etc/passwd"]):
        total += size_of(record)
    return total


def summary() -> Any:
    writer = raw.SummaryWriter(shared_name="w", container="")
    raw.CreateSummaryFileWriter(
        writer=writer, logdir="logs", max_queue=1, flush_millis=1, filename_suffix="x"
    )
    return 0.0


def debugged() -> Any:
    return tf.reduce_sum(
        raw.DebugIdentityV2(
            input=tf.constant([1.0]), debug_urls=["file://dump"], tfdbg_context_id="x"
        )
    )


def collective() -> Any:
    return raw.CollectiveReduce(
        input=tf.constant(1.0), group_size=1, group_key=1, instance_key=1, merge_op="Add",
        final_op="Id", subdiv_offsets=[0],
    )  # fmt: skip


def python_function() -> Any:
    return tf.ensure_shape(tf.numpy_function(lambda: 0.0, [], tf.float32), [])


def in_a_loop() -> Any:
    def body(i: Any, total: Any) -> Any:
        return i + 1, total + size_of(raw.ReadFile(filename="/etc/passwd"))

    return tf.while_loop(lambda i, _: i < 2, body, [tf.constant(0), tf.constant(0.0)])[1]


@tf.custom_gradient
def with_gradient(x: Any) -> Any:
    return x, lambda up: up * size_of(raw.ReadFile(filename="/etc/passwd"))


@tf.function
def nested() -> Any:
    return tf.function(lambda: size_of(raw.ReadFile(filename="/etc/passwd")))()


def restored() -> Any:
    values = raw.RestoreV2(
        prefix="/etc/checkpoint", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    )
    return tf.ensure_shape(values[0], [])


DEEDS: dict[str, tuple[Any, str]] = {
    "read": (lambda: size_of(raw.ReadFile(filename="/etc/passwd")), "ReadFile"),
    "write": (written, "WriteFile"),
    "match": (
        lambda: tf.cast(tf.size(raw.MatchingFiles(pattern="/etc/*")), tf.float32),
        "MatchingFiles",
    ),
    "print": (printed, "PrintV2"),
    "records": (records, "TFRecordDataset"),
    "summary": (summary, "CreateSummaryFileWriter"),
    "debug": (debugged, "DebugIdentityV2"),
    "collective": (collective, "CollectiveReduce"),
    "python": (python_function, "PyFunc"),
    "loop": (in_a_loop, "ReadFile"),
    "nested": (nested, "ReadFile"),
    "restore": (restored, "RestoreV2"),
    "mapped": (
        lambda: tf.reduce_sum(
            raw.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name="/etc/passwd")
        ),
        "ImmutableConst",
    ),
}


@pytest.mark.parametrize("name", DEEDS)
def test_operation_is_named_with_its_function(name: str, tmp_path: Path) -> None:
    body, operation = DEEDS[name]
    saved = save(tmp_path / "saved", body)

    message = refusal(saved)

    assert f"{operation} in function " in message
    assert f"--allow-op {operation}" in message


def test_operation_in_a_gradient_is_found(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda: with_gradient(tf.constant(0.0)))
    # TensorFlow saves gradients only on request; a file can also contain one that nothing saved.

    def add_gradient(graph: Any) -> None:
        library = graph.graph_def.library
        function = library.function.add()
        function.signature.name = "hidden"
        function.node_def.add(name="read", op="ReadFile")
        library.gradient.add(
            function_name=library.function[0].signature.name, gradient_func="hidden"
        )

    assert "ReadFile in function hidden" in refusal(edit(saved, add_gradient))


@pytest.mark.parametrize("operation", ["EagerPyFunc", "PyFuncStateless", "RpcCall", "NobodysOp"])
def test_operation_by_an_edited_file_is_refused(operation: str, tmp_path: Path) -> None:
    saved = edit(save(tmp_path / "saved", lambda: 0.0), renamed(operation))

    assert f"{operation} in function __inference___call___" in refusal(saved)


def test_function_with_the_name_of_an_operation_does_not_hide_the_operation(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", DEEDS["read"][0])

    def hide(graph: Any) -> None:
        graph.graph_def.library.function.add().signature.name = "ReadFile"

    assert "ReadFile in the library is also the name of a function" in refusal(edit(saved, hide))


def test_further_graph_of_the_file_is_checked(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda: 0.0)
    path = saved / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    further = model.meta_graphs.add()
    further.meta_info_def.tags.append("train")
    further.graph_def.node.add(name="read", op="ReadFile")
    path.write_bytes(model.SerializeToString())

    assert "ReadFile in the graph train reads or writes files" in refusal(saved)


def table_module(vocabulary: Path) -> tf.Module:
    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = tf.lookup.StaticVocabularyTable(
                tf.lookup.TextFileInitializer(
                    str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
                ), 1,
            )  # fmt: skip

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            return self.table.lookup(texts)

    return Module()


def test_table_of_an_asset_and_saver_are_allowed(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("a\nb\n")
    tf.saved_model.save(table_module(vocabulary), str(tmp_path / "saved"))

    loaded = load_checked(tmp_path / "saved", "test")

    assert loaded(tf.constant(["b"])).numpy().tolist() == [1]


def test_table_of_another_file_is_refused(tmp_path: Path) -> None:
    def body() -> Any:
        table = raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="t")
        raw.InitializeTableFromTextFileV2(
            table_handle=table, filename="/etc/passwd", key_index=-2, value_index=-1
        )
        return 0.0

    message = refusal(save(tmp_path / "saved", body))

    assert "InitializeTableFromTextFileV2 in function __inference___call___" in message
    assert "reads '/etc/passwd'" in message


def test_asset_outside_of_its_folder_is_refused(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("a\nb\n")
    tf.saved_model.save(table_module(vocabulary), str(tmp_path / "saved"))

    def climb(graph: Any) -> None:
        for asset in graph.asset_file_def:
            asset.filename = "../../../etc/passwd"

    message = refusal(edit(tmp_path / "saved", climb))

    assert "../../../etc/passwd in the list of assets leaves the folder of assets" in message


def test_saver_that_restores_another_file_is_refused(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda: 0.0)

    def redirect(graph: Any) -> None:
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.op == "RestoreV2":
                    other = function.node_def.add(name="other", op="Const")
                    other.attr["value"].tensor.string_val.append(b"/etc/checkpoint")
                    node.input[0] = "other:output:0"

    assert "RestoreV2 in function __inference__traced_restore" in refusal(edit(saved, redirect))


def test_saver_that_a_signature_reaches_is_refused(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda: 0.0)

    def reach(graph: Any) -> None:
        functions = graph.graph_def.library.function
        writer = next(f.signature.name for f in functions if "traced_save" in f.signature.name)
        called = next(f for f in functions if "__call__" in f.signature.name)
        node = called.node_def.add(name="save", op="StatefulPartitionedCall")
        node.attr["f"].func.name = writer

    message = refusal(edit(saved, reach))

    assert "SaveV2 in function __inference__traced_save" in message
    assert "outside of the saver" in message


def test_allowed_operation_is_loaded_and_others_are_not(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", DEEDS["read"][0])

    check_saved_model(saved, "test", ["ReadFile"])

    assert "ReadFile in function" in refusal(saved, "WriteFile")


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt"])
def test_second_form_of_the_model_is_refused(name: str, tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda: 0.0)
    (saved / name).write_bytes(b"")

    assert f"{name} is beside saved_model.pb" in refusal(saved)


@pytest.mark.parametrize("content", [b"\x0a" * 10**6, b"", b"\x0a\xff\xff\xff\x7f", b"\x1a" * 99])
def test_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda: 0.0)
    (saved / "saved_model.pb").write_bytes(content)

    with pytest.raises(BlocksError) as caught:
        load_checked(saved, "test")
    assert "\n" not in str(caught.value)


def test_constant_that_repeats_a_value_too_often_is_refused(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda: 0.0)

    def grow(graph: Any) -> None:
        node = graph.graph_def.node.add(name="large", op="Const")
        tensor = node.attr["value"].tensor
        tensor.dtype = tf.float32.as_datatype_enum
        tensor.tensor_shape.dim.add(size=10**10)
        tensor.float_val.append(0)

    message = refusal(edit(saved, grow))

    assert "the constants up to large need 40,000,000,0" in message


def test_variables_that_claim_more_than_their_files_have_are_refused(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda: 0.0)
    shard = next((saved / "variables").glob("variables.data-*"))
    shard.write_bytes(b"")

    assert "bytes, but the files have 0" in refusal(saved)


def test_no_allowed_operation_names_a_file_or_an_address_in_its_attributes() -> None:
    buffer = pywrap_tf_session.TF_GetAllOpList()
    operations = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))
    names = ("file", "path", "url", "address", "host", "logdir", "region_name")
    named = {
        (operation.name, attribute.name)
        for operation in operations.op
        if operation.name in computing_operations.COMPUTING
        for attribute in operation.attr
        if attribute.type in ("string", "list(string)")
        and any(word in attribute.name for word in names)
    }
    assert named == set()
