"""Each kind of tampering is found, also where the store's own record was forged to fit."""

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from chain_tampering import edit_json, forge, swap
from mlflow import MlflowClient

from tfhub_blocks.control.lineage import local_registrations
from tfhub_blocks.control.lineage.local_registrations import find_registration
from tfhub_blocks.control.lineage.model_tags import REQUIRED
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats.data_versions import ChildLock
from tfhub_blocks.records.formats.evidence import read_evidence


def parameters(statement):
    return statement["predicate"]["buildDefinition"]["externalParameters"]


def forget_inputs(chain, *steps, run=1):
    """Make a record of a run as old ones are, which do not tell what steps were given."""

    def change(record):
        for step in steps or record["steps"]:
            record["steps"][step]["inputs"] = {}

    edit_json(chain.folder / ".runs/runs" / chain.runs[run] / "run.json", change)


def set_tag(chain, version, name, value):
    with sqlite3.connect(chain.folder / ".runs/mlflow.db") as database:
        changed = database.execute(
            "UPDATE model_version_tags SET value = ? WHERE key = ? AND version = ?",
            (value, f"tfhub_blocks.{name}", version),
        )
    assert changed.rowcount == 1


def test_untouched_chain_holds(chain):
    for what in (chain.runs[0], chain.runs[1], "latest", "toy", "toy:1"):
        outcome = chain.verify(what)
        assert outcome.status == 0, outcome.out
        verdict = json.loads(outcome.out)
        assert (verdict["faults"], verdict["gaps"]) == ([], [])
    assert chain.verify(str(chain.output("trained", "model"))).status == 0


def test_chain_goes_back_to_what_no_step_made(chain):
    sources = json.loads(chain.verify().out)["sources"]
    begins = {source.rpartition(" <- ")[2] for source in sources}
    assert begins == {str(chain.made_in / "pictures"), str(chain.made_in / "saved")}
    assert len(Archive(chain.folder / ".runs").outputs) == 10


@pytest.mark.parametrize("what", ["run", "toy:2", "folder"])
def test_edited_file_far_back_is_found_from_everything_made_of_it(what, chain):
    (chain.output("encoder", "encoder") / "saved_model/saved_model.pb").write_text("grapf")
    what = {"run": None, "folder": str(chain.output("trained", "model"))}.get(what, what)
    assert chain.kinds(what) == {"file"}


def test_added_and_removed_files_are_found(chain):
    snapshot = chain.output("snapshot", "snapshot")
    (snapshot / "more").write_text("x")
    (snapshot / "rejected.parquet").unlink()
    faults = json.loads(chain.verify().out)["faults"]
    told = {fault["what"]: fault["found"] for fault in faults}
    assert told["rejected.parquet"] == "missing"
    assert told["more"].endswith(": added")


def test_edited_file_without_a_statement_is_found(chain):
    chain.output("registered", "registration").write_text("{}")
    assert chain.kinds() == {"file"}


def test_swapped_folder_is_found(chain):
    swap(chain.output("trained", "model"), chain.output("trained", "model", run=0))
    assert "swap" in chain.kinds()


def test_swapped_folder_is_found_by_the_run_though_the_store_was_forged(chain):
    """By the step that took it, and by what that wrote of it."""
    model = chain.output("trained", "model")
    swap(model, chain.output("trained", "model", run=0))
    forge(model)
    faults = json.loads(chain.verify().out)["faults"]
    swapped = {(f["where"], f["what"]) for f in faults if f["kind"] == "swap"}
    assert (f"step measured of {chain.runs[1]}", "model") in swapped
    assert (str(chain.output("measured", "report")), "model") in swapped


def test_swapped_folder_is_found_by_the_store_though_nothing_was_made_of_it(chain):
    for run in (0, 1):
        forget_inputs(chain, run=run)
    model = chain.output("trained", "model")
    swap(model, chain.output("trained", "model", run=0))
    assert "swap" in chain.kinds(str(model))


def test_swapped_folder_is_found_by_the_store_though_the_run_tells_nothing(chain):
    forget_inputs(chain)
    swap(chain.output("trained", "model"), chain.output("trained", "model", run=0))
    assert "swap" in chain.kinds()


def test_folder_swapped_for_what_an_old_run_took_elsewhere_is_found(chain):
    """What a later statement names is here, but not where the run had it."""
    model = chain.output("trained", "model")
    shutil.copytree(model.parent, model.parent.with_name("f" * 40))
    swap(model, chain.output("trained", "model", run=0))
    forge(model)
    assert "swap" in chain.kinds()


def test_edited_parameter_is_found_by_the_store(chain):
    forget_inputs(chain)
    edit_json(
        chain.output("trained", "model") / STATEMENT_NAME,
        lambda statement: parameters(statement).update(strength=7.0),
    )
    assert chain.kinds(str(chain.output("trained", "model"))) == {"statement"}


def test_edited_parameter_is_found_by_the_run(chain):
    model = chain.output("trained", "model")
    edit_json(model / STATEMENT_NAME, lambda s: parameters(s).update(strength=7.0))
    forge(model)
    assert "parameter" in chain.kinds()


@pytest.mark.parametrize("change", [{"rounds": 3}, {"balanced": False}, {"other": 1}])
def test_parameter_that_had_its_default_is_found_edited(change, chain):
    model = chain.output("trained", "model")
    edit_json(model / STATEMENT_NAME, lambda s: parameters(s).update(change))
    forge(model)
    assert "parameter" in chain.kinds()


def test_edited_parameter_is_found_by_the_statement_of_the_next_step(chain):
    """Of content alone nothing would be seen: the digest of the folder is what it was."""
    for run in (0, 1):
        forget_inputs(chain, run=run)
    snapshot = chain.output("snapshot", "snapshot")
    edit_json(snapshot / STATEMENT_NAME, lambda s: parameters(s).update(split_salt="other"))
    forge(snapshot)
    assert chain.kinds() == {"statement"}
    assert chain.kinds("toy:2") == {"statement"}


def test_edited_parameter_is_found_by_the_registry(chain):
    """No later statement names that of the model, and the tags of its version do."""
    artifacts = next(chain.folder.glob(".runs/mlflow/*/*/artifacts/model"))
    version = 1 if (artifacts / "weights").read_text().startswith("7") else 2
    edit_json(artifacts / STATEMENT_NAME, lambda s: parameters(s).update(strength=8.0))
    assert "statement" in chain.kinds(f"toy:{version}")


def test_edited_fact_is_found(chain):
    edit_json(
        chain.output("trained", "model") / STATEMENT_NAME,
        lambda s: s["predicate"]["buildDefinition"]["internalParameters"]["facts"].update(loss=0),
    )
    assert chain.kinds() == {"statement"}


def test_statement_that_cannot_be_read_is_a_fault(chain):
    report = chain.output("measured", "report")
    (report / STATEMENT_NAME).write_text("{")
    forge(report)
    faults = json.loads(chain.verify().out)["faults"]
    told = [f["found"] for f in faults if f["where"] == str(report)]
    assert len(told) == 1
    assert told[0].startswith("lineage.json is not a valid in-toto statement")


def test_removed_statement_is_found_by_the_store(chain):
    (chain.output("measured", "report") / STATEMENT_NAME).unlink()
    assert chain.kinds() == {"statement"}


def test_removed_statement_is_found_by_that_of_the_next_step(chain):
    snapshot = chain.output("snapshot", "snapshot")
    (snapshot / STATEMENT_NAME).unlink()
    forge(snapshot)
    assert chain.kinds() == {"statement"}


def test_damaged_record_of_the_store_is_a_fault(chain):
    (chain.output("trained", "model").parent / "step.json").write_text("{")
    assert chain.kinds() == {"store"}


def test_statement_of_another_step_is_found(chain):
    run = chain.folder / ".runs/runs" / chain.runs[1] / "run.json"
    edit_json(run, lambda record: record["steps"]["trained"].update(component="other"))
    assert chain.kinds() == {"run"}


def test_edited_code_beside_a_run_is_found(chain):
    code = chain.folder / ".runs/runs" / chain.runs[1] / "steps/trained/code/component.py"
    code.write_text(code.read_text() + "# edited\n")
    assert chain.kinds() == {"code"}


def test_replayed_evidence_is_found(chain):
    proof = chain.output("measured", "evidence", run=0)
    swap(proof, chain.output("measured", "evidence", run=1))
    forge(proof)
    assert "replay" in chain.kinds(chain.runs[0])
    assert "replay" in chain.kinds(str(chain.output("trained", "model", run=0)))


def test_evidence_replayed_with_its_report_is_found_where_it_was_registered(chain):
    forget_inputs(chain, "measured", run=0)
    for port in ("evidence", "report"):
        output = chain.output("measured", port, run=0)
        swap(output, chain.output("measured", port, run=1))
        forge(output)
    assert "replay" in chain.kinds(chain.runs[0])


def test_evidence_of_a_better_model_in_the_registry_is_found(chain):
    better = read_evidence(chain.output("measured", "evidence", run=1), "")
    set_tag(chain, 1, "evidence_digest", better.as_statement()["digest"])
    assert chain.kinds("toy:1") == {"replay"}


def test_edited_evidence_is_found(chain):
    proof = chain.output("measured", "evidence")
    edit_json(proof, lambda s: s["predicate"]["metrics"]["accuracy"].update(value=0.99))
    forge(proof)
    assert chain.kinds() == {"evidence"}


def test_evidence_of_latency_is_that_of_the_registered_model_and_is_here(chain):
    folder = chain.folder / ".runs"
    version = find_registration(folder, "toy:2", "test")
    another = read_evidence(chain.output("measured", "evidence", run=0), "")
    local_registrations.set_tag(folder, version, "latency_digest", another.as_statement()["digest"])
    assert chain.kinds("toy:2") == {"replay"}
    local_registrations.set_tag(folder, version, "latency_digest", "1" * 64)
    gaps = json.loads(chain.verify("toy:2").out)["gaps"]
    assert [gap["what"] for gap in gaps] == ["tag latency_digest"]


@pytest.mark.parametrize(
    "name",
    [
        "encoder",
        "snapshot",
        "training_snapshot",
        "code",
        "environment",
        "training_code",
        "training_environment",
    ],
)
def test_evidence_that_names_something_else_is_found(name, chain):
    """Written anew with a digest over itself, as no edit by hand would be."""
    proof = chain.output("measured", "evidence")
    evidence = read_evidence(proof, "")
    replace(evidence, digests={**evidence.digests, name: "0" * 64}).write(proof)
    forge(proof)
    outcome = json.loads(chain.verify().out)
    assert [(f["kind"], f["what"]) for f in outcome["faults"]] == [("evidence", name)]


def test_evidence_written_anew_is_not_that_of_the_registry(chain):
    proof = chain.output("measured", "evidence")
    evidence = read_evidence(proof, "")
    replace(evidence, metrics={"accuracy": {"value": 0.99, "low": 0.98, "high": 1.0}}).write(proof)
    forge(proof)
    outcome = chain.verify("toy:2")
    assert outcome.status == 1
    assert [gap["what"] for gap in json.loads(outcome.out)["gaps"]] == ["tag evidence_digest"]


@pytest.mark.parametrize(
    "tag",
    [
        "model_digest",
        "encoder_digest",
        "snapshot_digest",
        "code_digest",
        "environment_digest",
        "made",
        "made_by",
        "owner",
        "registered_as",
    ],
)
def test_edited_tag_is_found(tag, chain):
    set_tag(chain, 2, tag, "0" * 64)
    assert "registry" in chain.kinds("toy:2")


@pytest.mark.parametrize("tag", REQUIRED)
def test_tag_that_was_removed_is_found(tag, chain):
    with sqlite3.connect(chain.folder / ".runs/mlflow.db") as database:
        database.execute(
            "DELETE FROM model_version_tags WHERE key = ? AND version = 2", (f"tfhub_blocks.{tag}",)
        )
    outcome = chain.verify("toy:2")
    assert outcome.status == 1
    faults = json.loads(outcome.out)["faults"]
    assert ("registry", f"tag {tag}") in {(it["kind"], it["what"]) for it in faults}


@pytest.mark.parametrize("renamed", [False, True])
def test_version_that_was_copied_to_another_name_is_found(renamed, chain):
    """Also if the copy says that it was registered under its own name."""
    found = find_registration(chain.folder / ".runs", "toy:2", "test")
    tags = {f"tfhub_blocks.{name}": value for name, value in found.tags.items()}
    if renamed:
        tags["tfhub_blocks.registered_as"] = "better"
    database = f"sqlite:///{chain.folder / '.runs/mlflow.db'}"
    client = MlflowClient(database, database)
    client.create_registered_model("better")
    client.create_model_version("better", str(found.source), tags=tags)
    outcome = chain.verify("better:1")
    assert outcome.status == 1
    faults = {(it["kind"], it["what"]) for it in json.loads(outcome.out)["faults"]}
    assert ("registry", "registration" if renamed else "tag registered_as") in faults


@pytest.mark.parametrize("edited", [False, True])
def test_child_lock_of_data_that_the_step_did_not_read_is_found(edited, chain):
    output = chain.output("snapshot", "snapshot")
    child = ChildLock("nightly", "1" * 64, "source", "newest", "words", "v1", "2" * 64).as_fact()
    if edited:
        child["version"] = "v2"

    def change(statement):
        facts = statement["predicate"]["buildDefinition"]["internalParameters"]["facts"]
        facts.update(child_lock=child, release_lock="nightly")

    edit_json(output / STATEMENT_NAME, change)
    outcome = json.loads(chain.verify().out)
    [found] = [it for it in outcome["faults"] if it["kind"] == "release"]
    expected = "the digest does not match the content" if edited else "no such input"
    assert found["found"].startswith(expected)


def test_tag_that_was_copied_from_another_version_is_found(chain):
    first = find_registration(chain.folder / ".runs", "toy:1", "test")
    set_tag(chain, 2, "statement_digest", first.tags["statement_digest"])
    assert "statement" in chain.kinds("toy:2")


def test_part_that_is_not_here_fails_unless_that_is_agreed_to(chain):
    shutil.rmtree(chain.output("snapshot", "snapshot").parent)
    for what in (chain.runs[1], "toy:2"):
        outcome = chain.verify(what)
        assert (outcome.status, json.loads(outcome.out)["faults"]) == (1, [])
        assert json.loads(outcome.out)["gaps"]
        assert chain.verify(what, "--partial").status == 0


def test_edit_is_found_where_another_part_is_not_here(chain):
    shutil.rmtree(chain.output("snapshot", "snapshot").parent)
    (chain.output("trained", "model") / "weights").write_text("9.9")
    assert chain.verify(None, "--partial").status == 1


def test_what_was_made_again_in_the_same_way_is_no_fault(chain):
    """Such as by --no-reuse: its times are others, and later statements name the earlier one."""
    snapshot = chain.output("snapshot", "snapshot")
    edit_json(
        snapshot / STATEMENT_NAME,
        lambda s: s["predicate"]["runDetails"]["metadata"].update(startedOn="2030-01-01T00:00:00Z"),
    )
    forge(snapshot)
    outcome = chain.verify()
    assert outcome.status == 0
    assert f"{snapshot} was rebuilt later" in " ".join(json.loads(outcome.out)["notes"])


def test_step_that_was_reused_on_what_other_code_made_holds(chain):
    """Reuse goes by content: its statement names the encoder that other code had made."""
    component = chain.folder / "components/pin_toy/component.py"
    component.write_text(component.read_text() + "# edited\n")
    given = {"source": "pictures", "saved": "saved", "owner": "ada", "strength": "9"}
    words = [word for item in given.items() for word in ("--set", "=".join(item))]
    outcome = chain.main("run", "toy_model", *words, "--json")
    assert outcome.reused() == {
        "encoder": False,
        "snapshot": True,
        "trained": True,
        "measured": True,
        "registered": False,
    }
    made = outcome.record["steps"]["encoder"]["outputs"]["encoder"]
    assert Path(made).parent.name != chain.output("encoder", "encoder").parent.name
    assert chain.kinds("latest") == set()


def test_encoder_that_was_made_of_one_with_the_same_content_holds(chain):
    """An encoder that was imported is given to be imported, and comes out as it was."""
    earlier = chain.output("encoder", "encoder")
    given = {"source": "pictures", "saved": earlier, "owner": "ada", "strength": "9"}
    words = [word for item in given.items() for word in ("--set", f"{item[0]}={item[1]}")]
    outcome = chain.main("run", "toy_model", *words, "--json")
    made = Path(outcome.record["steps"]["encoder"]["outputs"]["encoder"])
    assert read_lineage(made).digest == read_lineage(earlier).digest
    assert chain.kinds("latest") == set()
    edit_json(earlier / STATEMENT_NAME, lambda s: parameters(s).update(more=1))
    assert "statement" in chain.kinds("latest")


def test_what_was_fetched_of_a_job_holds_by_its_statements(chain):
    fetched = chain.folder / ".runs/downloads/job"
    fetched.mkdir(parents=True)
    for step, port in (("encoder", "encoder"), ("snapshot", "snapshot"), ("trained", "model")):
        shutil.copytree(chain.output(step, port), fetched / port)
    for name in ("store", "runs", "mlflow"):
        shutil.rmtree(chain.folder / ".runs" / name)
    assert chain.kinds(str(fetched / "model")) == set()
    edit_json(fetched / "encoder" / STATEMENT_NAME, lambda s: parameters(s).update(more=1))
    assert chain.kinds(str(fetched / "model")) == {"statement"}
    shutil.rmtree(fetched / "encoder")
    assert chain.verify(str(fetched / "model")).status == 1
    assert chain.verify(str(fetched / "model"), "--partial").status == 0


def test_moved_folder_of_runs_holds(chain):
    (chain.folder / ".runs").rename(chain.folder / "moved")
    for what in ("toy:2", "latest"):
        outcome = chain.verify(what, "--runs-dir", "moved")
        assert outcome.status == 0, outcome.out


def test_what_is_told_of_a_chain_that_holds(chain, golden):
    golden("verify", chain.normal(chain.main("verify", chain.runs[1], anew=False).out))


def test_what_is_told_of_faults(chain, golden):
    model = chain.output("trained", "model")
    edit_json(model / STATEMENT_NAME, lambda s: parameters(s).update(strength=7.0))
    (model / "weights").write_text("9.9")
    proof = chain.output("measured", "evidence", run=1)
    swap(proof, chain.output("measured", "evidence", run=0))
    shutil.rmtree(chain.output("encoder", "encoder").parent)
    outcome = chain.main("verify", chain.runs[1], anew=False)
    assert outcome.status == 1
    golden("verify_faults", chain.normal(outcome.out + outcome.err))


def test_unknown_name_is_told_with_the_nearest(chain, golden):
    outcome = chain.main("verify", "toi", anew=False)
    assert outcome.status == 2
    golden("error_verify_unknown", chain.normal(outcome.err))


def test_unknown_version_is_told_with_those_there_are(chain, golden):
    outcome = chain.main("verify", "toy:7", anew=False)
    assert outcome.status == 2
    golden("error_verify_version", chain.normal(outcome.err))
