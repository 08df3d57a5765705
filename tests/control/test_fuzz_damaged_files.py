"""Whatever is wrong with a file, its reader says so in one line, and never with a traceback."""

import io
import json
import random
import shutil

import pytest
from PIL import Image
from toy_project import ROOT

from tfhub_blocks.compute.data.item_tables import open_table
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.project.run_records import read_metrics, read_run
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.environment.package_locks import parse_lock
from tfhub_blocks.records.formats.evidence import read_evidence
from tfhub_blocks.records.formats.features import open_features
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.releases import read_lock
from tfhub_blocks.records.formats.snapshots import open_snapshot
from tfhub_blocks.records.pins.pins import read_pin

V01 = ROOT / "tests/compat/v0.1"
ODD_JSON = [
    "null", "[]", "{}", "0", '"x"', "1e999", "9" * 5000, "[" * 100_000, '{"a":' * 50_000, "NaN",
    '{"format_version": 1}', '{"format_version": 1e300}', '{"items": "x", "labels": 3}', "\ufeff{}",
]  # fmt: skip
ODD_TOML = [
    "x = 1", "format_version = 'x'", "format_version = 1", "a = " + "[" * 5000, "= 3", "[a]\n[a]",
    "format_version = " + "9" * 5000, "format_version = 1979-05-27", "[[roles]]\nx = 1", "\0",
]  # fmt: skip


def snapshot(path):
    found = open_snapshot(path.parent, "step")
    for _ in found.items():
        pass
    found.index()


def features(path):
    for _ in open_features(path.parent, "step").batches():
        pass


def arrow_of_snapshot(path):
    snapshot(path.parent / "x")


def table(path):
    opened = open_table(path)
    for _ in opened.read(list(opened.columns)):
        pass


def image(path):
    Images.content_fault(path.read_bytes(), Limits(10**6, 60.0))


def run_record(path):
    try:
        read_run(path)
    except (OSError, ValueError) as error:  # what the function says that it raises
        raise BlocksError("run", "run.json", str(error), "", "") from error


# The name of a file, what is read, the text or file that is damaged, and other content for it.
KINDS = {
    "snapshot manifest": (V01 / "snapshot/manifest.json", snapshot, ODD_JSON),
    "snapshot statement": (V01 / "snapshot/lineage.json", snapshot, ODD_JSON),
    "snapshot items": (V01 / "snapshot/items.arrow", snapshot, []),
    "snapshot shard": (V01 / "snapshot/shards/00000.arrow", arrow_of_snapshot, []),
    "features manifest": (V01 / "features/manifest.json", features, ODD_JSON),
    "features shard": (V01 / "features/shards/00000.arrow", lambda p: features(p.parent), []),
    "model statement": (
        V01 / "model/lineage.json",
        lambda p: (read_lineage(p.parent), open_model(p.parent, "step")),
        ODD_JSON,
    ),
    "MLmodel": (V01 / "model/MLmodel", lambda p: open_model(p.parent, "step"), ODD_JSON),
    "evidence": (V01 / "evidence.json", read_evidence, ODD_JSON),
    "pin": (V01 / "encoder/encoder.toml", read_pin, ODD_TOML),
    "release lock": (V01 / "old.lock.toml", read_lock, ODD_TOML),
    "package lock": (
        ROOT / "components/environments/cpu/requirements.lock",
        lambda p: parse_lock(p.read_bytes().decode(errors="replace"), "env"),
        ODD_TOML,
    ),
    "profile": (ROOT / "pipelines/profiles/local.toml", lambda p: read_profile(str(p)), ODD_TOML),
    "table": ("rows.csv", table, ["", "path\n", "path,label\n" * 3, "a,b\n1\n", '"' * 99]),
    "JSON table": ("rows.jsonl", table, ODD_JSON),
    "Parquet table": (V01 / "snapshot/sources.parquet", table, ["", "PAR1", "PAR1" * 9]),
    "image": ("a.png", image, ["", "GIF89a"]),
    "run record": ("run.json", run_record, ODD_JSON),
    "metrics": ("metrics.json", read_metrics, ODD_JSON),
}


def whole(name):
    """The content that a file has before it is damaged, if the repository has no such file."""
    picture = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(picture, "PNG")
    return {
        "rows.csv": b"path,label\na.png,x\nb.png,y\n",
        "rows.jsonl": b'{"path": "a.png", "label": "x"}\n{"path": "b.png", "label": 3}\n',
        "a.png": picture.getvalue(),
        "run.json": json.dumps(
            {"run": "a", "inputs": {}, "steps": {"s": {"component": "c"}}}
        ).encode(),
        "metrics.json": b'{"accuracy": {"value": 0.5}}',
    }[name]


def damaged(content, others, chosen):
    """The content with one kind of damage."""
    if others and chosen.random() < 0.3:
        return chosen.choice(others).encode()
    data = bytearray(content)
    kind = chosen.randrange(6)
    if kind == 0:
        del data[chosen.randrange(len(data)) :]
    elif kind == 1:
        for _ in range(chosen.randrange(1, 9)):
            data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
    elif kind == 2:
        at = chosen.randrange(len(data))
        data[at : at + chosen.randrange(40)] = chosen.randbytes(chosen.randrange(40))
    elif kind == 3:
        data = bytearray(chosen.randbytes(chosen.randrange(200)))
    elif kind == 4:
        digits = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
        if digits:
            at = chosen.choice(digits)
            data[at : at + 1] = chosen.choice([b"-1", b"1e999", b"9" * 400, b'"x"', b"null", b"[]"])
    else:
        data += data[: chosen.randrange(len(data))]
    return bytes(data)


def check(folder, seed, count):
    chosen, wrong = random.Random(seed), {}  # noqa: S311
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        source, read, others = KINDS[kind]
        place = folder / f"{number}"
        if isinstance(source, str):
            place.mkdir()
            path, content = place / source, whole(source)
        else:
            content = source.read_bytes()
            root = next((it for it in source.parents if it.parent == V01), None)
            if root is None:
                place.mkdir()
                path = place / source.name
            else:
                shutil.copytree(root, place)
                path = place / source.relative_to(root)
        path.write_bytes(damaged(content, others, chosen))
        try:
            read(path)
        except BlocksError as error:
            told = str(error)
            if not told.isprintable() or len(told) > 3000:
                wrong[f"{kind} {number}"] = told[:300]
        except BaseException as error:
            wrong[f"{kind} {number}"] = f"{type(error).__name__}: {str(error)[:200]}"
        shutil.rmtree(place)
    assert wrong == {}


def test_a_sample_of_damaged_files_is_told_in_one_line(tmp_path):
    check(tmp_path, seed=1, count=4 * len(KINDS))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damaged_files_are_told_in_one_line(tmp_path):
    check(tmp_path, seed=2, count=1500)
