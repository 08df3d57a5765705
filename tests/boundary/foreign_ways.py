"""Ways by foreign programs and data: an encoder, a model, a table or a folder that does more."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from ways import surface

from tfhub_blocks.compute.data.data_sources import open_source
from tfhub_blocks.compute.data.item_tables import open_table
from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot
from tfhub_blocks.records.base.arrow_bounds import open_arrow
from tfhub_blocks.records.base.parquet_bounds import read_groups
from tfhub_blocks.records.formats.foreign_code import check_trusted

way = surface("Foreign programs and data", "foreign")
REMEDY = "Review this code, then pass --trust-code"


@way("let an encoder read a file when it is called")
def foreign_read(stand):
    return stand.graph("ReadFile", "/etc/passwd")


@way("let an encoder write a file when it is called")
def foreign_write(stand):
    return stand.graph("WriteFile", "written.txt", "content")


@way("let an encoder list files")
def foreign_match(stand):
    return stand.graph("MatchingFiles", "/etc/*")


@way("let an encoder call Python")
def foreign_python(stand):
    return stand.graph("EagerPyFunc")


@way("let an encoder print to a file")
def foreign_print(stand):
    return stand.graph("PrintV2", "text")


@way("let an encoder read a data set")
def foreign_records(stand):
    return stand.graph("TFRecordDataset", "/etc/passwd")


@way("let an encoder write a log of TensorBoard")
def foreign_summary(stand):
    return stand.graph("CreateSummaryFileWriter")


@way("let an encoder dump tensors for debugging to an address")
def foreign_debug(stand):
    return stand.graph("DebugIdentityV2")


@way("let an encoder talk to other processes")
def foreign_rpc(stand):
    return stand.graph("RpcCall")


@way("let an encoder run a compiled program")
def foreign_compiled(stand):
    return stand.graph("XlaCallModule")


@way("let an encoder use an operation that nobody knows")
def foreign_unknown(stand):
    return stand.graph("NobodysOperation")


@way("let an encoder restore a checkpoint that is not its own")
def foreign_restore(stand):
    return stand.graph("RestoreV2", "/etc/checkpoint")


@way("let a table of an encoder read a file that is no asset")
def foreign_table(stand):
    return stand.graph("InitializeTableFromTextFileV2", "table", "/etc/passwd")


@way("give a function of an encoder the name of the operation that it hides")
def foreign_hiding_name(stand):
    return stand.graph("ReadFile", "/etc/passwd", scope="ReadFile")


@way("lay a second form of the SavedModel beside the first")
def foreign_second_form(stand):
    pin = stand.graph("Identity")
    (stand.encoder / "saved_model.cpb").write_bytes(b"")
    return pin


@way("serve a model of somebody else, whose pickle runs code")
def foreign_pickle(stand):
    write_mlmodel(stand.folder)
    (stand.folder / "python_model.pkl").write_bytes(b"\x80\x04.")
    return lambda: check_trusted(stand.folder, False, "serve", REMEDY)


@way("take the statement away from a model of tfhub-blocks, and trust its code")
def foreign_without_statement(stand):
    write_mlmodel(stand.folder)
    (stand.folder / "encoder.toml").write_text("")
    return lambda: check_trusted(stand.folder, True, "serve", REMEDY)


@way("give a table of some kilobytes that expands to gigabytes")
def foreign_expanding_table(stand):
    path = stand.folder / "table.parquet"
    values = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), ["a" * 2**29])
    table = pa.table({"text": values})
    pq.write_table(
        table, path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**31 - 1
    )
    return lambda: list(open_table(path).read(["text"]))


@way("give a compressed shard of a snapshot that expands to gigabytes")
def foreign_compressed_shard(stand):
    path = stand.folder / "00000.arrow"
    table = pa.table({"content": pa.array([b"0" * 2**26], pa.binary())})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table)

    def take():
        with pa.memory_map(str(path)) as source:
            open_arrow(source, path)

    return take


@way("give predictions of some kilobytes whose lists expand to gigabytes")
def foreign_expanding_list(stand):
    path = stand.folder / "00000.parquet"
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["a" * 2**20])
    lists = pa.ListArray.from_arrays(pa.array([0, 5000], pa.int32()), label)
    table = pa.table({"top_labels": lists})
    pq.write_table(
        table, path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**31 - 1
    )
    return lambda: list(read_groups(path))


@way("link from the folder of an encoder to a file outside of it")
def foreign_encoder_link(stand):
    pin = stand.graph("MatMul")
    (stand.folder / "secret.txt").write_text("secret")
    (stand.encoder / "assets").mkdir()
    (stand.encoder / "assets" / "vocabulary").symlink_to("../../secret.txt")
    return pin


@way("write an address with a signature into the path column of a table")
def foreign_signed_path(stand):
    table = stand.folder / "table.csv"
    signed = "https://ours.blob.core.windows.net/a/1.png?sv=1&sig=INVENTEDINVENTED"
    table.write_text(f"path,label\n{signed},a\n")
    (stand.folder / "snapshot").mkdir()
    return lambda: take_snapshot(
        table, stand.folder / "snapshot", SnapshotOptions(modality="image"), lambda *_: None
    )


@way("link from a class folder to a file outside of the source")
def foreign_link(stand):
    folder = linked(stand.folder, "../../secret.txt")
    return lambda: list(open_source(folder, "bytes").places)


@way("link from a class folder to the folder above")
def foreign_loop(stand):
    folder = linked(stand.folder, "..")
    return lambda: list(open_source(folder, "bytes", follow_links=True).places)


def write_mlmodel(folder: Path) -> None:
    (folder / "MLmodel").write_text(
        "flavors: {python_function: {loader_module: mlflow.pyfunc.model, "
        "python_model: python_model.pkl}}\n"
    )


def linked(folder: Path, target: str) -> Path:
    (folder / "secret.txt").write_text("secret")
    (folder / "source" / "a").mkdir(parents=True)
    (folder / "source" / "a" / "link").symlink_to(target)
    return folder / "source"
