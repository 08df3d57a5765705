"""Ways by bytes that no statement lists, but that would be copied, loaded or run."""

import os
import shutil

from bytecode import plant_bytecode
from ways import surface

way = surface("What lies beside what was digested", "model")


def plant(stand, name):
    """Put a file there that nothing tells of."""
    path = stand.model / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


def plant_pyc(stand, name):
    """Put bytecode there that leaves a marker when it is run."""
    plant_bytecode(stand.model / "scoring.py", stand.model / name, stand.folder / "marker")


@way("put a bytecode cache beside a model's program, which Python runs in its place")
def bytes_cache(stand):
    plant_pyc(stand, "__pycache__/scoring.cpython-311.pyc")


@way("put a bytecode cache further down in a model")
def bytes_cache_below(stand):
    plant_pyc(stand, "artifacts/__pycache__/decoding.cpython-311.pyc")


@way("put a module without a source into a model, under the name of a package")
def bytes_sourceless_module(stand):
    plant_pyc(stand, "numpy.pyc")


@way("put a compiled extension beside a model's program, which Python prefers to it")
def bytes_extension(stand):
    plant(stand, "scoring.cpython-311-x86_64-linux-gnu.so")


@way("put a file into a model that Python runs at its start")
def bytes_site(stand):
    plant(stand, "sitecustomize.py")


@way("hide a file in a model behind a dot")
def bytes_hidden(stand):
    plant(stand, ".hidden")


@way("hide files in a model as parts of unfinished work")
def bytes_work(stand):
    plant(stand, ".work/0/000000.arrow")


@way("hide files in a model as an unfinished attempt")
def bytes_partial(stand):
    plant(stand, ".partial/content/weights")


@way("hide the list of another attempt in a model")
def bytes_pending(stand):
    shutil.copy(stand.model / "lineage.json", stand.model / ".lineage.json")


@way("say that MLflow had added a file to a model")
def bytes_registered(stand):
    plant(stand, "registered_model_meta")


@way("put an empty folder into a model")
def bytes_empty_folder(stand):
    (stand.model / "assets").mkdir()


@way("put a link into a model to a file elsewhere")
def bytes_link(stand):
    (stand.folder / "elsewhere").write_text("x")
    (stand.model / "more").symlink_to(stand.folder / "elsewhere")


@way("put a link to a file with the same bytes in place of a model's file, to edit that later")
def bytes_link_in_place(stand):
    (stand.model / "weights").rename(stand.folder / "elsewhere")
    (stand.model / "weights").symlink_to(stand.folder / "elsewhere")


@way("put a link into a model to a folder elsewhere")
def bytes_folder_link(stand):
    (stand.folder / "elsewhere").mkdir()
    (stand.model / "more").symlink_to(stand.folder / "elsewhere")


@way("put a pipe into a model, at which a reader would wait for ever")
def bytes_pipe(stand):
    os.mkfifo(stand.model / "more")


@way("put a bytecode cache into the champion that a model is compared with")
def bytes_in_champion(stand):
    stand.compare()
    path = stand.champion / "__pycache__/scoring.cpython-311.pyc"
    plant_bytecode(stand.champion / "scoring.py", path, stand.folder / "marker")
