import json
from dataclasses import replace

import pytest

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.evidence import Evidence, Threshold, read_evidence

MET = Threshold("accuracy", asked=0.9, measured=0.95, met=True)
MISSED = Threshold("macro_f1", asked=0.9, measured=0.85, met=False)


def evidence(*thresholds):
    return Evidence(
        model_digest="ab" * 32,
        digests={"snapshot": "cd" * 32, "environment": "ef" * 32},
        metrics={"accuracy": {"value": 0.95, "low": 0.1 + 0.2}},
        thresholds=thresholds,
    )


@pytest.mark.parametrize(
    ("thresholds", "passed"),
    [((MET,), True), ((MET, MET), True), ((MET, MISSED), False), ((MISSED,), False), ((), False)],
)
def test_passed_means_that_something_was_asked_and_all_of_it_met(thresholds, passed):
    assert evidence(*thresholds).passed is passed
    statement = evidence(*thresholds).as_statement()
    assert statement["predicate"]["result"] == ("PASSED" if passed else "FAILED")


def test_written_evidence_reads_back_as_it_was(tmp_path):
    evidence(MET, MISSED).write(tmp_path / "e.json")
    assert read_evidence(tmp_path / "e.json", "test") == evidence(MET, MISSED)


def test_evidence_of_latency_says_so_and_keeps_its_facts(tmp_path):
    measured = replace(evidence(MET), kind="latency", facts={"compute_size": "Standard_D2ds_v5"})
    measured.write(tmp_path / "e.json")
    assert read_evidence(tmp_path / "e.json", "test") == measured


def test_statement_says_which_tests_passed_of_which_model():
    statement = evidence(MET, MISSED).as_statement()
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["subject"] == [{"name": "model", "digest": {"dirHash": "ab" * 32}}]
    assert statement["predicate"]["passedTests"] == ["accuracy"]
    assert statement["predicate"]["failedTests"] == ["macro_f1"]
    assert {"name": "snapshot", "digest": {"sha256": "cd" * 32}} in statement["predicate"][
        "configuration"
    ]


def test_edited_evidence_is_refused(tmp_path):
    path = tmp_path / "e.json"
    evidence(MISSED).write(path)
    path.write_text(path.read_text().replace("0.85", "0.95"))
    with pytest.raises(BlocksError) as refusal:
        read_evidence(path, "register_model")
    assert str(refusal.value) == (
        f"[register_model > evidence] {path} is not valid evidence (the digest does not match the "
        "content). Expected the unchanged evidence.json that evaluate or check_latency wrote. Run "
        "the step again that wrote the evidence."
    )


def test_white_space_does_not_make_it_other_evidence(tmp_path):
    path = tmp_path / "e.json"
    evidence(MET).write(path)
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert read_evidence(path, "test") == evidence(MET)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", b"{}", b'{"digest": "x"}', b"\xff", b'{"digest":1,"predicate":2}']
)
def test_file_that_is_no_evidence_is_refused(content, tmp_path):
    (tmp_path / "e.json").write_bytes(content)
    with pytest.raises(BlocksError, match="is not valid evidence"):
        read_evidence(tmp_path / "e.json", "test")


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(BlocksError, match="No such file"):
        read_evidence(tmp_path / "e.json", "test")
