"""An output of a job that knows what it is: a table, a matrix, a model, a report."""

# decision 103

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.control.project.run_records import RunRecord
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats import features, models, predictions, snapshots
from tfhub_blocks.records.pins import pins

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_REPORT_NAME = "report.html"


@dataclass(frozen=True)
class OutputValue:
    """One output of a job. Every byte of it is checked when it is read."""

    name: str
    path: Path
    _record: RunRecord

    @property
    def format(self) -> str:
        """The name of the format, such as ``features``; an empty text if none is recorded."""
        if not (self.path / STATEMENT_NAME).is_file():
            return ""
        return read_lineage(self.path).format.partition("/")[0]

    @property
    def report(self) -> Path:
        """The path of the report's page.

        Raises:
            BlocksError: The output has no report.
        """
        if not (self.path / _REPORT_NAME).is_file():
            raise self._unfit("report", f"no {_REPORT_NAME}", "Read .report of a report's output")
        return self.path / _REPORT_NAME

    def to_pandas(self) -> "pd.DataFrame":
        """Return the output as a table: one row for each item.

        Features have the columns ``id``, ``path``, ``label``, ``split`` and ``features``, which
        contains one float32 row for each item. Snapshots have the same columns without
        ``features``.

        Raises:
            BlocksError: The output is not a table, or a file was changed.
        """
        import pandas as pd

        kind = self.format
        if kind == features.FEATURES.kind:
            read = features.open_features(self.path, self.name)
            columns = ["id", "label", "split", "vector"]
            parts = [features_frame(batch) for batch in read.batches(columns)]
            table = pd.concat(parts, ignore_index=True) if parts else features_frame(None)
            return self._with_paths(table, self._snapshot())
        if kind == snapshots.SNAPSHOT.kind:
            index = snapshots.open_snapshot(self.path, self.name).index().to_pandas()
            return self._with_paths(index, self.path)
        if kind == predictions.FORMAT.kind:
            files = predictions.open_predictions(self.path, self.name).files()
            # A folder without rows has one empty shard, so that the columns are known.
            return pd.concat([pd.read_parquet(it) for it in files], ignore_index=True)
        if self.path.is_file() and self.path.suffix in (".parquet", ".csv"):
            reader = pd.read_csv if self.path.suffix == ".csv" else pd.read_parquet
            return reader(self.path)
        raise self._unfit("to_pandas", "no table", "Read the files below .path")

    def to_numpy(self) -> "np.ndarray[Any, Any]":
        """Return features as a float32 matrix, in the order of the rows of ``to_pandas``.

        Raises:
            BlocksError: The output is not features, or a file was changed.
        """
        import numpy as np

        if self.format != features.FEATURES.kind:
            raise self._unfit("to_numpy", "no features", "Call .to_pandas()")
        read = features.open_features(self.path, self.name)
        rows = [features.vectors_of(it.column("vector")) for it in read.batches(["vector"])]
        if not rows:
            return np.empty((0, read.manifest.dimension), np.float32)
        return np.concatenate(rows).astype(np.float32)

    def load(self) -> Any:
        """Return a model that answers, or an encoder that encodes.

        Raises:
            BlocksError: The output is neither, or a file was changed.
        """
        import tfhub_blocks

        if self.format == pins.FORMAT.kind:
            return tfhub_blocks.load_encoder(self.path)
        if self.format == models.MODEL.kind:
            return tfhub_blocks.load_model(self.path)
        raise self._unfit("load", "neither a model nor an encoder", "Read the files below .path")

    def __repr__(self) -> str:
        """Return the name, the format and the path."""
        return f"<{self.name}: {self.format or 'files'} in {self.path}>"

    def _with_paths(self, table: "pd.DataFrame", snapshot: Path | None) -> "pd.DataFrame":
        """Add the path of each item's first file in the data that the snapshot was taken of."""
        import pandas as pd

        paths: dict[str, str] = {}
        folder = snapshots.open_snapshot(snapshot, self.name).folder if snapshot else None
        if folder is not None and snapshots.SOURCES_NAME in folder.lineage.files:
            sources = pd.read_parquet(folder.file(snapshots.SOURCES_NAME)).sort_values("path")
            paths = dict(sources.drop_duplicates("id")[["id", "path"]].itertuples(index=False))
        table.insert(1, "path", [paths.get(item, "") for item in table["id"]])
        return table

    def _snapshot(self) -> Path | None:
        """Return the snapshot of the step that wrote this output, if the run knows it."""
        for step in self._record.steps.values():
            if any(self._is_same(Path(path)) for path in step.outputs.values()):
                source = step.inputs.get("snapshot", {})
                if "step" in source:
                    path = self._record.steps[source["step"]].outputs.get(source["port"])
                    return Path(path) if path else None
                return Path(source["path"]) if "path" in source else None
        return None

    def _is_same(self, path: Path) -> bool:
        """Return True if a stored output is this one, whose files are links to the same bytes."""
        ours, theirs = self.path / STATEMENT_NAME, path / STATEMENT_NAME
        return theirs.is_file() and ours.read_bytes() == theirs.read_bytes()

    def _unfit(self, method: str, problem: str, remedy: str) -> BlocksError:
        what = self.format or ("a file" if self.path.is_file() else "files")
        text = f"output {self.name} is {what}, so it has {problem}"
        return BlocksError("outputs", f"{self.name}.{method}", text, "", remedy)


def features_frame(batch: Any) -> "pd.DataFrame":
    """Return a batch of features as a table, or an empty table without a batch."""
    import numpy as np
    import pandas as pd

    if batch is None:
        return pd.DataFrame({"id": [], "label": [], "split": [], "features": []})
    table: pd.DataFrame = batch.select(["id", "label", "split"]).to_pandas()
    vectors = features.vectors_of(batch.column("vector")).astype(np.float32)
    table["features"] = list(vectors)
    return table
