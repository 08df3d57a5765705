"""A champion in a chain: bound by digest, held, and nothing of what was made is made of it."""

import json
import shutil
from dataclasses import replace

import pytest
from chain_tampering import edit_json, forge, swap

from tfhub_blocks.control.cards.model_facts import model_knot
from tfhub_blocks.control.lineage.chains import trace
from tfhub_blocks.control.lineage.recorded_output import read_output
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.records.base.digests import file_sha256
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, output_material, read_lineage
from tfhub_blocks.records.formats.champion_comparison import ChampionComparison
from tfhub_blocks.records.formats.evidence import Threshold, read_evidence


def estimates(value):
    return {"accuracy": {"value": value, "low": value - 0.05, "high": value + 0.05}}


@pytest.fixture
def compared(chain):
    """The chain, whose second model was measured against its first."""
    from mlflow import MlflowClient

    report, proof = (chain.output("measured", port) for port in ("report", "evidence"))
    champion = chain.output("trained", "model", run=0)
    lineage = read_lineage(report)
    given = (*lineage.provenance.materials, output_material("champion", champion))
    (report / "metrics.json").unlink()
    (report / "metrics.json").write_text('{"comparison": {}}')
    files = {"metrics.json": file_sha256(report / "metrics.json")}
    made = replace(lineage.provenance, materials=given)
    replace(lineage, files=files, provenance=made).write(report)
    forge(report)
    evidence, digest = read_evidence(proof, ""), read_lineage(champion).digest
    data = evidence.digests["snapshot"]
    found = ChampionComparison(
        digest, data, data, 7, 2, 1, estimates(0.7), estimates(0.2), ("champion",)
    )
    low = found.changes["accuracy"]["low"]
    held = (*evidence.thresholds, Threshold("min_accuracy_gain", 0.1, low, True))
    replace(evidence, comparison=found, thresholds=held).write(proof)
    forge(proof)
    uri = f"sqlite:///{chain.folder}/.runs/mlflow.db"
    tags = {
        "champion_digest": digest,
        "evidence_digest": read_evidence(proof, "").as_statement()["digest"],
    }
    for name, value in tags.items():
        MlflowClient(uri, uri).set_model_version_tag("toy", "2", f"tfhub_blocks.{name}", value)
    return chain


def rewrite(chain, **other):
    """Write the comparison anew with something else in it, and a digest that fits."""
    proof = chain.output("measured", "evidence")
    evidence = read_evidence(proof, "")
    replace(evidence, comparison=replace(evidence.comparison, **other)).write(proof)
    forge(proof)


def faults(chain, what=None):
    return [(it["kind"], it["what"]) for it in json.loads(chain.verify(what).out)["faults"]]


def test_comparison_holds(compared):
    for what in (None, "toy:2", str(compared.output("trained", "model"))):
        outcome = json.loads(compared.verify(what).out)
        assert (outcome["faults"], outcome["gaps"]) == ([], []), outcome


def test_champion_that_was_swapped_after_the_evaluation_is_found(compared):
    champion = compared.output("trained", "model", run=0)
    swap(champion, compared.output("trained", "model", run=1))
    assert ("swap", "champion") in faults(compared, "toy:2")
    assert ("swap", "champion") in faults(compared)


def test_champion_that_was_edited_is_found(compared):
    (compared.output("trained", "model", run=0) / "weights").write_text("1")
    assert compared.kinds("toy:2") == {"file"}


def test_statement_of_a_champion_that_was_edited_is_found(compared):
    champion = compared.output("trained", "model", run=0)
    edit_json(
        champion / STATEMENT_NAME,
        lambda s: s["predicate"]["buildDefinition"]["externalParameters"].update(strength=1.0),
    )
    forge(champion)
    assert ("statement", "champion") in faults(compared, "toy:2")


def test_evidence_that_compares_with_another_champion_is_found(compared):
    rewrite(compared, champion="0" * 64)
    assert faults(compared) == [("replay", "champion")]


def test_evidence_that_leaves_its_champion_out_is_found(compared):
    proof = compared.output("measured", "evidence")
    evidence = read_evidence(proof, "")
    replace(evidence, comparison=None, thresholds=evidence.thresholds[:1]).write(proof)
    forge(proof)
    assert faults(compared) == [("replay", "champion")]


def test_champion_that_was_measured_on_other_data_is_found(compared):
    rewrite(compared, snapshot="0" * 64)
    assert faults(compared) == [("evidence", "champion")]


def test_gain_that_was_held_against_another_number_is_found(compared):
    rewrite(compared, changes=estimates(0.05))
    assert faults(compared) == [("evidence", "champion")]


def test_registry_that_names_another_champion_is_found(compared):
    from mlflow import MlflowClient

    uri = f"sqlite:///{compared.folder}/.runs/mlflow.db"
    MlflowClient(uri, uri).set_model_version_tag("toy", "2", "tfhub_blocks.champion_digest", "0")
    assert faults(compared, "toy:2") == [("registry", "tag champion_digest")]


def test_champion_that_is_gone_is_told_and_lacks_in_no_chain(compared):
    shutil.rmtree(compared.output("trained", "model", run=0).parent)
    outcome = json.loads(compared.verify("toy:2").out)
    assert (outcome["faults"], outcome["gaps"]) == ([], [])
    assert "was compared with the champion" in " ".join(outcome["notes"])


def test_evidence_whose_report_is_not_here_is_not_taken_for_a_replay(compared):
    fetched = compared.folder / ".runs/downloads/job"
    fetched.mkdir(parents=True)
    shutil.copytree(compared.output("trained", "model"), fetched / "model")
    shutil.copy(compared.output("measured", "evidence"), fetched / "evidence")
    shutil.rmtree(compared.output("measured", "evidence").parent)
    assert compared.kinds(str(fetched / "model")) == set()


def test_nothing_behind_a_champion_is_behind_the_model(compared):
    archive = Archive(compared.folder / ".runs")
    report = archive.at(compared.output("measured", "report").absolute())
    chain = trace("report", archive, [report])
    champion = chain.knots[archive.at(compared.output("trained", "model", run=0)).path]
    assert (champion.is_champion, champion.links) == (True, ())
    model = model_knot(chain, "test")
    assert model.output.digest == read_lineage(compared.output("trained", "model")).digest
    behind = {knot.output.path for knot in chain.behind(chain.knots[report.path])}
    assert champion.output.path not in behind


def test_step_that_makes_a_model_of_what_it_calls_a_champion_hides_nothing(compared):
    model, other = (compared.output("trained", "model", run=run) for run in (1, 0))
    lineage = read_lineage(model)
    given = (*lineage.provenance.materials, output_material("champion", other))
    replace(lineage, provenance=replace(lineage.provenance, materials=given)).write(model)
    archive = Archive(compared.folder / ".runs")
    chain = trace("model", archive, [read_output(model)])
    assert read_lineage(other).digest in {
        knot.output.digest for knot in chain.knots.values() if not knot.is_champion
    }


def test_what_was_compared_with_a_model_is_not_made_of_it(compared):
    """Nor is what was given that report, as check_latency is."""
    model = compared.output("trained", "model")
    lineage = read_lineage(model)
    report = output_material("evaluation", compared.output("measured", "report"))
    given = (*lineage.provenance.materials, report)
    replace(lineage, provenance=replace(lineage.provenance, materials=given)).write(model)
    told = compared.main("lineage", "--uses", "toy:1", anew=False)
    assert told.status == 0, told.err
    assert "champion" in told.out
    assert "toy:2" not in told.out


def test_card_tells_of_the_champion(compared, golden):
    outcome = compared.main("card", "toy:2", "--to", "card", anew=False)
    assert outcome.status == 0, outcome.err
    text = compared.normal((compared.folder / "card/card.md").read_text())
    golden("card_champion", text[text.index("## Metrics") : text.index("## Limits")])
    assert "| champion | DIGEST |" in text
