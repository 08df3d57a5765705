"""A folder with foreign models, tables and links; what refuses them is called in this process."""

from pathlib import Path
from typing import Any

import pytest
from stands import plain
from ways import Way

from tfhub_blocks.records.base.errors import BlocksError


class ForeignStand:
    """What somebody brings along: an act makes it, and returns what takes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.encoder = folder / "encoder"

    def graph(self, operation: str, *constants: str, scope: str = "call") -> Any:
        """Write a SavedModel with an operation in a function, and return what pins it."""
        from tensorflow.core.protobuf import saved_model_pb2

        model = saved_model_pb2.SavedModel()
        graph = model.meta_graphs.add()
        graph.meta_info_def.tags.append("serve")
        function = graph.graph_def.library.function.add()
        function.signature.name = scope
        node = function.node_def.add(name="node", op=operation)
        for number, text in enumerate(constants):
            constant = function.node_def.add(name=f"text{number}", op="Const")
            constant.attr["value"].tensor.string_val.append(text.encode())
            node.input.append(f"text{number}:output:0")
        self.encoder.mkdir()
        (self.encoder / "saved_model.pb").write_bytes(model.SerializeToString())
        return self.pin

    def pin(self) -> None:
        """Import the encoder, as `encoder pin` does."""
        from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model

        target = self.folder / "pinned"
        target.mkdir()
        import_saved_model(ImportRequest(str(self.encoder), None, None, "accept"), target)

    def refusal_of(self, way: Way) -> str:
        """What is told of a way that is refused."""
        take = way.act(self)
        with pytest.raises(BlocksError) as caught:
            take()
        return plain(f"error: {caught.value}\n", self.folder)
