"""Ways by what happens between the submission and the start of a step."""

from ways import surface

from tfhub_blocks.records.environment.environment_drift import POLICY_VARIABLE
from tfhub_blocks.records.formats.locked_expectations import VARIABLE

way = surface("After the submission", "run")


def variables(stand, node="first"):
    return stand.node(node)["environment_variables"]


@way("replace the blob of data that was uploaded")
def run_replaced_blob(stand):
    [words] = stand.versions("data")
    stand.edit_blob(f"{words['dataUri']}/word", lambda _: b"bye")


@way("add a blob to data that was uploaded")
def run_added_blob(stand):
    [words] = stand.versions("data")
    stand.add_blob(f"{words['dataUri']}/more", b"more")


@way("edit a parameter of the job")
def run_parameter(stand):
    for value in stand.job["inputs"].values():
        if value.get("value") == "3":
            value["value"] = "4"


@way("edit the default of a published step that the job leaves to it")
def run_default(stand):
    for properties in stand.versions("components"):
        ports = properties["componentSpec"].get("inputs") or {}
        if "text" in ports:
            ports["text"]["default"] = "b"


@way("edit the uploaded code of a step")
def run_code(stand):
    for code in stand.codes("make"):
        stand.edit_blob(f"{code}/component.py", lambda text: text + b"# an edit\n")


@way("add a module to the uploaded code that hides one of Python's (json.py)")
def run_shadowing_module(stand):
    for code in stand.codes("make"):
        stand.add_blob(f"{code}/json.py", b"from tfhub_blocks import *\n")


@way("let the uploaded code state the lock of another environment")
def run_other_environment(stand):
    for code in stand.codes("make"):
        name = f"{code}/tfhub_blocks/environment.lock"
        stand.edit_blob(name, lambda text: text.replace(b"toy:", b"tay:"))


@way("let a step only warn of another environment")
def run_policy(stand):
    variables(stand)[POLICY_VARIABLE] = "warn"


@way("make what a step is told to see unreadable")
def run_unreadable_promise(stand):
    variables(stand)[VARIABLE] = "{"


@way("take what a step is told to see out of the job, so that it compares nothing")
def run_without_promise(stand):
    del variables(stand)[VARIABLE]
    for value in stand.job["inputs"].values():
        if value.get("value") == "3":
            value["value"] = "4"


@way("empty what a step is told to see, and let another one read what it makes")
def run_empty_promise(stand):
    variables(stand)[VARIABLE] = ""


@way("give a step the data of another asset")
def run_other_data(stand):
    [words] = stand.versions("data")
    stand.add_blob(f"{words['dataUri']}-2/word", b"other")
    for value in stand.job["inputs"].values():
        if "/data/" in str(value.get("uri")):
            value["uri"] = f"{words['dataUri']}-2"
