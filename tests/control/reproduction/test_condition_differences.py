"""What a step ran in, held against what is here, as its statement tells it."""

import copy
import platform
from importlib.metadata import version

import pytest
from image_registry_server import serve_registry

from tfhub_blocks.control.project.step_graph import OutputOf
from tfhub_blocks.control.reproduction.availability import packages_gone, told_images
from tfhub_blocks.control.reproduction.condition_differences import (
    changed_packages,
    differences_after,
    differences_before,
    locked_packages,
)
from tfhub_blocks.control.reproduction.recorded_code import StepCode
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan, Work
from tfhub_blocks.records.base.lineage import Lineage, Provenance
from tfhub_blocks.records.environment.environment_definitions import Image
from tfhub_blocks.records.environment.environment_drift import drift_from
from tfhub_blocks.records.environment.installed_packages import environment_digest
from tfhub_blocks.records.environment.machine_facts import machine_facts
from tfhub_blocks.records.environment.package_locks import STEP_LOCK_NAME, parse_lock

TENSORFLOW = {"version": "2.21.0", "build": "v2.21.0, Clang 18", "threads": [2, 2], "gpus": []}


@pytest.fixture
def facts():
    """What a step here, now, would write of its machine and environment."""
    lock = parse_lock(lock_text(), "lock")
    environment = drift_from(lock).as_dict() | {"tensorflow": dict(TENSORFLOW)}
    return {"machine": machine_facts().as_record(), "environment": environment}


def lock_text():
    python = platform.python_version()
    return f"# environment: toy:1\n# python: {python}\nnumpy=={version('numpy')}\nsix==0.0.1\n"


def plan_of(tmp_path, facts, digest=None):
    """A plan of one step that ran with such facts."""
    (tmp_path / "tfhub_blocks").mkdir(exist_ok=True)
    (tmp_path / "tfhub_blocks" / STEP_LOCK_NAME).write_text(lock_text())
    made = Provenance("train", {}, (), "c", digest or environment_digest(), "", "", facts)
    work = Work("head", "train", Lineage("model", "model/1", {}, made))
    work.code = StepCode(tmp_path, "run x", {"model": "mlflow_model"}, "azureml:toy:1", "cpu")
    return ReproductionPlan("model toy:1", OutputOf("head", "model"), {"head": work})


def test_nothing_is_told_where_nothing_differs(facts, tmp_path):
    plan = plan_of(tmp_path, facts)
    assert differences_before(plan) == []
    assert differences_after(plan, {"head": plan.works["head"].lineage.provenance}) == []


def test_each_package_that_differs_is_named(facts, tmp_path):
    environment = facts["environment"]
    environment["python"] = "3.11.0"
    environment["other"] = {"numpy": ("1.0", "2.0.1"), **environment["other"]}
    environment["missing"] = {"pandas": "1.0", **environment["missing"]}
    environment["extra"] = {"count": 1, "digest": "0"}
    plan = plan_of(tmp_path, facts, digest="another")
    assert differences_before(plan) == [
        f"Python was 3.11.0, locally it is {platform.python_version()} (head)",
        f"numpy was 2.0.1, locally it is {version('numpy')} (head)",
        f"pandas was not installed, locally it is {version('pandas')} (head)",
        "the packages outside of the lock differ (head)",
    ]
    assert changed_packages(plan) == {"numpy": "2.0.1"}


def test_environment_of_a_step_without_a_lock_is_only_known_to_differ(facts, tmp_path):
    facts["environment"] = {"environment": None}
    (told,) = differences_before(plan_of(tmp_path, facts, digest="another"))
    assert told.startswith("the installed packages differ, and no lock lists")


def test_processor_instructions_threads_and_variables_are_told_before(facts, tmp_path, monkeypatch):
    machine = facts["machine"]
    more = len(machine["instructions"].split())
    machine.update(
        processor="Another CPU",
        instructions="amx_new " + " ".join(machine["instructions"].split()[1:]),
        cores=machine["cores"] + 6,
    )
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    here = machine_facts().as_record()
    told = differences_before(plan_of(tmp_path, facts))
    assert f"processor: was Another CPU, locally {here['processor']} (head)" in told
    assert any(
        it.startswith("vector instructions: locally without amx_new and with ") for it in told
    )
    assert f"cores (threads): was {here['cores'] + 6}, locally {here['cores']} (head)" in told
    assert any(it.endswith("TF_ENABLE_ONEDNN_OPTS=0 (head)") for it in told)
    assert more > 1


def test_statement_from_before_machines_were_recorded_says_so(facts, tmp_path):
    del facts["machine"]
    (told,) = differences_before(plan_of(tmp_path, facts))
    assert told.startswith("the machine was not recorded")


def test_blas_tensorflow_and_engine_are_told_by_both_statements(facts, tmp_path):
    plan = plan_of(tmp_path, facts | {"engine": {"kind": "openvino/cpu"}})
    now = copy.deepcopy(facts) | {"engine": {"kind": "tensorflow/cpu"}}
    now["machine"]["blas"] = ["openblas 0.4 Zen, 8 threads"]
    now["environment"]["tensorflow"].update(build="v2.22.0, GCC 14", threads=[8, 8])
    made = Provenance("train", {}, (), "c", "e", "", "", now)
    told = differences_after(plan, {"head": made})
    then = "; ".join(facts["machine"]["blas"])
    assert told == [
        f"BLAS: was {then}, locally openblas 0.4 Zen, 8 threads (head)",
        "TensorFlow's build: was v2.21.0, Clang 18, locally v2.22.0, GCC 14 (head)",
        "TensorFlow's threads: was 2; 2, locally 8; 8 (head)",
        "engine: was openvino/cpu, locally tensorflow/cpu (head)",
    ]


def test_base_image_that_is_gone_is_told_where_its_registry_is_asked():
    with serve_registry() as registry:
        digest = registry.put("azureml/base", "1")
        name = f"{registry.host}/azureml/base"
        images = {
            "same:1": Image(f"{name}:1", digest),
            "moved:1": Image(f"{name}:1", "sha256:" + "0" * 64),
            "gone:1": Image(f"{name}:2", digest),
            "unknown:1": None,
        }
        asked = list(told_images(images, online=True))
        assert asked[0].endswith(": available")
        assert asked[1].endswith(f": the tag is another image now, {digest}")
        assert ": not available: " in asked[2]
        assert "not defined in this checkout any more" in asked[3]
        before = len(registry.asked)
        assert all("not checked" in it for it in list(told_images(images, online=False))[:3])
        assert len(registry.asked) == before


def test_package_that_pip_does_not_get_any_more_is_named(tmp_path, write_wheel, monkeypatch):
    """By the very pip that would install it, of an index of our own."""
    write_wheel(tmp_path / "index", "toy-package", "1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    wanted = [("toy-package", "1.0"), ("toy-package", "0.9"), ("lost-package", "2.0")]
    gone = list(packages_gone(wanted))
    assert len(gone) == 2
    assert gone[0].startswith("lost-package==2.0: No matching distribution found")
    assert gone[1] == "toy-package==0.9: the index has only other versions, the newest is 1.0"


def test_index_that_does_not_answer_in_time_is_told(monkeypatch):
    monkeypatch.setattr("tfhub_blocks.control.reproduction.availability.TIMEOUT_S", 0.0)
    assert list(packages_gone([("toy-package", "1.0")])) == [
        "toy-package==1.0: pip did not answer within 0 s"
    ]


def test_images_are_built_with_all_that_the_steps_locks_hold(facts, tmp_path):
    plan = plan_of(tmp_path, facts)
    assert locked_packages(plan) == {("numpy", version("numpy")), ("six", "0.0.1")}
