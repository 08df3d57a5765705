"""Code from outside the commit is found in the source; what a pipeline needs is not."""

import ast
import sys
from types import ModuleType

import pytest

from tfhub_blocks.control.repository.loaded_code import check_interpreter, find_foreign_code
from tfhub_blocks.records.base.errors import BlocksError

FOREIGN = [
    "import helper",
    "from helper.inner import name",
    "def f():\n    import helper",
    "try:\n    import helper\nexcept ImportError: pass",
    "import pytest",  # installed, and neither required nor locked
    "exec('x = 1')",
    "run = eval\nrun('1')",
    "compile('1', 'x', 'eval')",
    "__import__('helper')",
    "import builtins\nbuiltins.exec('1')",
    "__builtins__['exec']('1')",
    "getattr(__builtins__, 'ex' + 'ec')('1')",
    "from builtins import exec as run",
    "with open('x') as f: exec(f.read())",
    "import importlib\nimportlib.import_module(name)",
    "import importlib\nimportlib.import_module('helper')",
    "from importlib import import_module as load\nload('a' + 'b')",
    "import importlib as i\nload = getattr(i, 'import_' + 'module')",
    "import importlib.util",
    "from importlib import util",
    "from importlib.machinery import SourceFileLoader",
    "import importlib\nimportlib.reload(x)",
    "import runpy\nrunpy.run_path('x.py')",
    "from runpy import run_path",
    "import sys\nsys.path.append('/x')",
    "import sys\nsys.path[:0] = ['/x']",
    "from sys import path as places",
    "import sys as s\ns.path.insert(0, '/x')",
    "import sys\ngetattr(sys, 'path').append('/x')",
    "import sys\ngetattr(sys, 'pa' + 'th')",
    "import sys\nsys.meta_path.insert(0, x)",
    "import sys\nsys.modules['numpy'] = x",
    "import site\nsite.addsitedir('/x')",
    "import pkgutil",
    "import zipimport",
    "import x_package\nx_package.__path__.append('/x')",
    "f.__globals__['x']",
    "().__class__.__base__.__subclasses__()",
    "import ctypes\nctypes.CDLL('x.so')",
    "from ctypes import cdll",
    "import pickle\npickle.load(f)",
    "import pickle\npickle.loads(b'')",
    "from pickle import Unpickler",
    "import joblib\njoblib.load('x')",
    "import marshal",
    "import shelve",
    "import types\ntypes.FunctionType(code, {})",
    "import code\ncode.interact()",
    "import subprocess\nsubprocess.run(['x'])",
    "import os\nos.system('x')",
    "from os import execv",
    "import os\nos.environ['PYTHONPATH'] = '/x'",
    "open('/x/sitecustomize.py', 'w')",
    "open('/x/more.pth', 'w')",
]
OF_THE_COMMIT = [
    "import json, os.path, sys\nprint(sys.argv)",
    "import re\nre.compile('x')",
    "from tfhub_blocks.components import make",
    "from azure.ai.ml import Input, dsl",
    "import numpy as np",
    "import pickle\npickle.dumps(1)",
    "import importlib\nimportlib.import_module('json')",
    "from importlib.resources import files",
    "from importlib.metadata import version",
    "'''Unlike eval, PYTHONPATH is not read.'''",
    "x = model.eval()",
    "x.path.append(1)",
    "from . import near",
    "import os\nos.environ['HOME']",
]


def found(source, is_step=False):
    return list(find_foreign_code(ast.parse(source), is_step))


@pytest.mark.parametrize("source", FOREIGN)
def test_code_from_elsewhere_is_found(project, source):
    assert found(source)


@pytest.mark.parametrize("source", OF_THE_COMMIT)
def test_code_of_the_commit_and_of_packages_passes(project, source):
    assert found(source) == []


def test_module_of_the_project_is_known(project):
    project.write("helper.py", "")
    project.write("pipelines/near.py", "")
    project.write("package/inner.py", "")
    assert found("import helper, near, package.inner") == []


def test_package_that_an_environment_locks_is_known(project):
    assert found("import some_package")
    lock = "# python: 3.11\nsome-package==1.0 --hash=sha256:0\nother[x]==2\n"
    project.write("components/environments/toy/requirements.lock", lock)
    assert found("import some_package, other") == []


def test_locked_package_in_a_folder_of_the_import_path_is_not_that_package(project, monkeypatch):
    lock = "some-package==1.0 --hash=sha256:0\n"
    project.write("components/environments/toy/requirements.lock", lock)
    project.write("elsewhere/some_package.py", "")
    monkeypatch.syspath_prepend(str(project.folder / "elsewhere"))
    assert found("import some_package")


def test_step_may_start_programs_which_a_rule_checks(project):
    assert found("import subprocess\nsubprocess.run(['x'])", is_step=True) == []
    assert found("import pickle\npickle.load(f)", is_step=True)


@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_module_that_customized_python_is_refused(project, monkeypatch, name):
    module = ModuleType(name)
    module.__file__ = f"/more/{name}.py"
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    check_interpreter("submit", project.folder)
    monkeypatch.setenv("PYTHONPATH", "/more")
    with pytest.raises(BlocksError, match="before tfhub-blocks"):
        check_interpreter("submit", project.folder)
    module.__file__ = f"{project.folder}/{name}.py"
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(BlocksError, match="before tfhub-blocks"):
        check_interpreter("submit", project.folder)
