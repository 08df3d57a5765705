"""Ways by the code: what is checked out is not what was locked."""

from release_project import commit, edit, git, pin
from ways import surface

way = surface("The code", "release")
STEP, PIPELINE = "components/make/component.py", "pipelines/judged.py"


@way("change a step after it was locked, and commit that")
def code_step(project):
    edit(project, STEP, "# EFFECT", "print(1)")
    commit(project)


@way("change a value that the pipeline gives to a step, and commit that")
def code_value(project):
    edit(project, PIPELINE, "flag=True", "flag=False")
    commit(project)


@way("let a step take its data from another step, and commit that")
def code_wiring(project):
    edit(
        project,
        PIPELINE,
        "    verdict = judge(made=first.outputs.made",
        "    other = make(source=source)\n    verdict = judge(made=other.outputs.made",
    )
    commit(project)


@way("let the pipeline name data itself, which no lock holds")
def code_own_data(project):
    own = 'Input(type="uri_folder", path="azureml:others:1")'
    edit(project, PIPELINE, "make(source=source", f"make(source={own}")
    commit(project)


@way("edit the definition of an environment, and pin the steps to it")
def code_environment(project):
    edit(project, "components/environments/toy/Dockerfile", "base:1", "base:2")
    pin(project)
    commit(project)


@way("edit the definition of an environment, and leave the steps pinned to what it was")
def code_environment_alone(project):
    edit(project, "components/environments/toy/Dockerfile", "base:1", "base:2")
    commit(project)


@way("move the tag of the base image, whose digest is locked")
def code_base_image(project):
    edit(project, "components/environments/toy/Dockerfile", "1" * 64, "2" * 64)
    pin(project)
    commit(project)


def add_line(project, line, name=PIPELINE):
    """Add a line to the top of a file, and commit that."""
    begin, quotes, rest = project.read(name).partition('"""\n')
    project.write(name, f"{begin}{quotes}{line}\n{rest}")
    commit(project)


@way("import a module that is in the working folder alone")
def code_ignored_module(project):
    project.write(".git/info/exclude", "helper.py\n")
    project.write("helper.py", "")
    add_line(project, "import helper")


@way("import a module that PYTHONPATH names")
def code_module_of_a_variable(project):
    project.write("../more/helper.py", "")
    project.monkeypatch.syspath_prepend(str(project.folder.parent / "more"))
    add_line(project, "import helper")


@way("import an installed package that nothing requires or locks")
def code_unlocked_package(project):
    add_line(project, "import pytest")


@way("import bytecode that has no source, committed and all")
def code_bytecode_alone(project):
    project.write("helper.pyc", "x")
    git(project, "add", "--force", "helper.pyc")
    add_line(project, "import helper")


@way("run a text that is read from a file")
def code_exec(project):
    add_line(project, "exec(open('/elsewhere/code').read())")


@way("evaluate a text under another name of eval")
def code_eval(project):
    add_line(project, "run = eval")


@way("import a module whose name the source does not state")
def code_computed_import(project):
    add_line(project, "import importlib; importlib.import_module('hel' + 'per')")


@way("load a file as a module")
def code_file_as_module(project):
    add_line(project, "from importlib.util import spec_from_file_location")


@way("run a file as a program in the same process")
def code_runpy(project):
    add_line(project, "import runpy")


@way("change where imports look")
def code_search_path(project):
    add_line(project, "import sys; sys.path.insert(0, '/elsewhere')")


@way("replace a module that others import")
def code_replaced_module(project):
    add_line(project, "import sys; sys.modules['azure'] = None")


@way("add a folder of packages, whose .pth files run code")
def code_site_folder(project):
    add_line(project, "import site; site.addsitedir('/elsewhere')")


@way("load a library of machine code")
def code_ctypes(project):
    add_line(project, "from ctypes import CDLL")


@way("load a pickle")
def code_pickle(project):
    add_line(project, "import pickle; pickle.load(open('/elsewhere/data', 'rb'))")


@way("start another program while the pipeline is compiled")
def code_program(project):
    add_line(project, "import os; os.system('true')")


@way("load code in a step that the pipeline imports")
def code_step_pickle(project):
    add_line(project, "import pickle; pickle.loads(b'N.')", STEP)


@way("load code in a module of the commit that a step imports")
def code_indirect(project):
    project.write("helper.py", "exec('')\n")
    add_line(project, "import helper", STEP)
