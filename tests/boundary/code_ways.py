"""Ways by the code: what is checked out is not what was locked."""

from release_project import commit, edit, pin
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
