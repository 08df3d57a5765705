"""Ways by evidence: what was measured is not this model, or not what was asked."""

import json
from dataclasses import replace

from toy_pins import toy_pin
from ways import surface

from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.formats.evidence import Evidence, Threshold, read_evidence
from tfhub_blocks.records.pins.pins import PIN_NAME, Decisions

way = surface("The evidence", "model")


def edit(stand, change):
    statement = json.loads(stand.evidence.read_text())
    change(statement)
    stand.evidence.write_text(json.dumps(statement))


def rewrite(stand, **other):
    """Write it anew with something else in it and a digest that fits."""
    replace(read_evidence(stand.evidence, ""), **other).write(stand.evidence)


@way("register a model with the evidence of a better one")
def evidence_of_better_model(stand):
    Evidence("b" * 64, {}, {}, (Threshold("accuracy", 0.9, 0.99, True),)).write(stand.evidence)


@way("edit what was measured")
def evidence_measured(stand):
    edit(stand, lambda it: it["predicate"]["thresholds"][0].update(measured=0.99))


@way("let the evidence be about this model, by hand")
def evidence_subject(stand):
    Evidence("b" * 64, {}, {}, (Threshold("accuracy", 0.9, 0.99, True),)).write(stand.evidence)
    digest = {"dirHash": stand.digest}
    edit(stand, lambda it: it["subject"][0].update(digest=digest))


@way("say that a threshold was met which was not")
def evidence_not_met(stand):
    rewrite(stand, thresholds=(Threshold("accuracy", 0.9, 0.8, False),))


@way("take away the thresholds, so that none was missed")
def evidence_without_thresholds(stand):
    rewrite(stand, thresholds=())


@way("give evidence of an older format, which asked for less")
def evidence_other_format(stand):
    edit(stand, lambda it: it["predicate"].update(format="evidence/0"))


@way("give something that is no evidence")
def evidence_none(stand):
    stand.evidence.write_text("{}")


@way("change the model after it was measured")
def evidence_model_changed(stand):
    (stand.model / "weights").write_text("9")


@way("add a file to the model after it was measured")
def evidence_model_file_added(stand):
    (stand.model / "loader.py").write_text("import os")


@way("change the model and its statement, which says what its files are")
def evidence_model_restated(stand):
    (stand.model / "weights").write_text("9")
    stand.restate()


@way("serve a model in real time whose answers nobody measured the latency of")
def evidence_without_latency(stand):
    path = stand.model / PIN_NAME
    decisions = Decisions("mounted", "allowed", "realtime", 50.0)
    path.unlink()
    toy_pin("e", "https://tfhub.dev/e/1", stand.model, decisions).write(path)
    stand.restate()
    thresholds = (Threshold("accuracy", 0.9, 0.95, True),)
    digest = read_lineage(stand.model).digest
    Evidence(digest, {}, {}, thresholds).write(stand.evidence)


@way("compare with a champion that was measured on other data")
def evidence_champion_on_other_data(stand):
    stand.compare(snapshot="another")


@way("give evidence that compares with another, weaker model than the champion")
def evidence_of_another_champion(stand):
    stand.compare(champion="b" * 64)


@way("give evidence that compares with no champion, where there is one")
def evidence_without_champion(stand):
    stand.compare()
    rewrite(stand, comparison=None, thresholds=(Threshold("accuracy", 0.9, 0.95, True),))


@way("put another model in the champion's place after it was measured, statement and all")
def evidence_champion_swapped(stand):
    stand.compare()
    (stand.champion / "weights").write_text("8")
    stand.restate(stand.champion)


@way("change the champion after it was measured")
def evidence_champion_changed(stand):
    stand.compare()
    (stand.champion / "weights").write_text("8")


@way("hold the least gain against the measured one, and not against what is certain of it")
def evidence_gain_by_the_point(stand):
    stand.compare()
    rewrite(stand, thresholds=(Threshold("min_accuracy_gain", 0.08, 0.1, True),))


@way("leave out what a gain was measured against")
def evidence_gain_over_nothing(stand):
    stand.compare()
    stand.champion = None
    rewrite(stand, comparison=None)
