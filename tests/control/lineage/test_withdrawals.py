"""Withdrawals: what depends on something withdrawn is refused, until a new statement ends it."""

import json

import pytest
from chain_tampering import edit_json

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.withdrawals import Withdrawal, parse_withdrawal

REASON = ("--reason", "Its owner asked for that")


@pytest.fixture(autouse=True)
def ada(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")


def withdraw(chain, what, *words):
    outcome = chain.main("withdraw", str(what), *REASON, *words, anew=False)
    assert outcome.status == 0, outcome.err
    return outcome.out


def statements(chain):
    return sorted(chain.folder.glob("pipelines/withdrawals/*.json"))


def item_of(chain, split="train"):
    from tfhub_blocks.records.formats.snapshots import open_snapshot

    index = open_snapshot(chain.output("snapshot", "snapshot"), "test").index()
    return next(row["id"] for row in index.to_pylist() if row["split"] == split)


def subjects(chain):
    """What can be withdrawn of the chain's second model, and how users name it."""
    return {
        "model": "toy:2",
        "encoder": "toy-encoder",
        "encoder folder": chain.output("encoder", "encoder"),
        "snapshot": chain.output("snapshot", "snapshot"),
        "licence": "licence:CC BY 4.0",
        "item": item_of(chain),
        "test item": item_of(chain, "test"),
        "digest": json.loads((chain.output("trained", "model") / "lineage.json").read_text())[
            "subject"
        ][0]["digest"]["dirHash"],
    }


@pytest.mark.parametrize(
    "name",
    ["model", "encoder", "encoder folder", "snapshot", "licence", "item", "test item", "digest"],
)
def test_what_depends_on_it_is_refused(chain, name):
    assert chain.kinds("toy:2") == set()
    out = withdraw(chain, subjects(chain)[name])
    assert "toy:2" in out.partition("registered models")[2]
    assert chain.kinds("toy:2") == {"withdrawn"}
    assert chain.kinds() == {"withdrawn"}
    refused = chain.main("serve", "toy:2", anew=False)
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "Its owner asked for that" in refused.err
    refused = chain.main("card", "toy:2", "--to", "card", anew=False)
    assert refused.status == 2


def test_model_that_does_not_depend_on_it_is_served_no_worse(chain):
    withdraw(chain, "toy:2")
    assert chain.kinds("toy:1") == set()


def test_run_is_refused_before_it_begins_and_by_the_step(chain, sources):
    words = ("--set", "source=pictures", "--set", "saved=saved", "--set", "owner=ada")
    withdraw(chain, item_of(chain))
    runs = len(chain.runs)
    outcome = chain.main("run", "toy_model", *words, anew=False)
    assert outcome.status == 1
    # The stored snapshot is not reused.
    assert "depends on item" in outcome.err + outcome.out
    outcome = chain.main("run", "toy_model", *words, "--no-reuse", anew=False)
    assert outcome.status == 1
    assert "snapshot depends on something that withdrawal" in outcome.err + outcome.out
    assert len(chain.runs) == runs + 2


@pytest.mark.slow
def test_data_without_the_item_is_taken(chain, sources):
    item = item_of(chain)
    withdraw(chain, item)
    from tfhub_blocks.records.base.digests import file_sha256

    for path in chain.folder.glob("pictures/*/*.bmp"):
        if file_sha256(path) == item:
            path.unlink()
    words = ("--set", "source=pictures", "--set", "saved=saved", "--set", "owner=ada")
    outcome = chain.main("run", "toy_model", *words, anew=False)
    assert outcome.status == 0, outcome.err
    assert chain.kinds("toy:3") == set()


def test_withdrawal_is_written_once_and_again_if_more_is_affected(chain):
    withdraw(chain, "toy-encoder")
    first = statements(chain)
    withdraw(chain, "toy-encoder")
    assert statements(chain) == first
    edited = json.loads(first[0].read_text())
    found = parse_withdrawal(first[0].read_text())
    assert (found.kind, found.name, found.deciders[0]) == ("encoder", "toy-encoder", "ada")
    assert edited["affected"]


def test_forward_lists_the_same_before_and_after(chain):
    what = str(chain.output("snapshot", "snapshot"))
    before = chain.main("lineage", "--forward", what, anew=False).out
    withdraw(chain, what)
    after = chain.main("lineage", "--forward", what, anew=False).out
    assert before == after
    for part in ("runs: ", "snapshot: ", "model: ", "toy:1, toy:2", "release locks: none"):
        assert part in after, part
    assert all(run in after for run in chain.runs)


def test_restoring_is_a_statement_of_its_own(chain):
    withdraw(chain, "toy-encoder")
    out = withdraw(chain, "toy-encoder", "--restore")
    assert "encoder toy-encoder may be used again" in out
    assert len(statements(chain)) == 2
    assert chain.kinds("toy:2") == set()
    withdraw(chain, "toy-encoder")
    assert chain.kinds("toy:2") == {"withdrawn"}
    outcome = chain.main("withdraw", "licence:MIT", *REASON, "--restore", anew=False)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "licence MIT is not withdrawn" in outcome.err


def test_tag_alone_is_enough(chain):
    """On another machine, the registry has the tag, and the project lacks the statement."""
    withdraw(chain, "toy:2")
    [path] = statements(chain)
    path.unlink()
    assert chain.kinds("toy:2") == {"withdrawn"}
    outcome = chain.main("serve", "toy:2", anew=False)
    assert outcome.status == 2
    assert "which this project does not contain" in outcome.err


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(reason="Other"),
        lambda it: it.update(digests=[]),
        lambda it: it.update(more=1),
        lambda it: it.pop("kind"),
        lambda it: it.update(restores="0" * 64),
    ],
)
def test_edited_statement_is_refused(chain, change):
    withdraw(chain, "toy")
    [path] = statements(chain)
    edit_json(path, change)
    for words in (("verify", "toy:2"), ("serve", "toy:2"), ("withdraw", "toy:1", *REASON)):
        outcome = chain.main(*words, anew=False)
        assert (outcome.status, outcome.err.count("\n")) == (2, 1)
        assert "is not a valid withdrawal" in outcome.err


def test_statement_under_another_name_or_another_file_is_refused(chain):
    withdraw(chain, "toy")
    [path] = statements(chain)
    path.rename(path.with_name("0" * 12 + ".json"))
    assert "its digest belongs to the name" in chain.main("serve", "toy:2", anew=False).err
    path.with_name("0" * 12 + ".json").rename(path)
    path.with_name(".hidden").write_text("")
    assert "is not a valid withdrawal" in chain.main("serve", "toy:2", anew=False).err


@pytest.mark.parametrize(
    ("what", "reason", "problem"),
    [
        ("nothing-of-that-name", "x", "is no output in"),
        ("RUN", "x", "is a run, which has several outputs"),
        ("toy", " ", "the reason is empty"),
        ("toy", "a\nb", "several lines"),
        ("toy", "x" * 201, "the reason has 201 characters"),
        ("toy", "see https://a:hunter2hunter2@b/", "the reason contains a credential"),
        ("toy:9", "x", "model toy has no version '9'"),
    ],
)
def test_bad_request_is_refused(chain, what, reason, problem):
    what = what.replace("RUN", chain.runs[0])
    outcome = chain.main("withdraw", what, "--reason", reason, anew=False)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert problem in outcome.err
    assert statements(chain) == []


def test_digest_that_is_not_known_here_can_be_withdrawn(chain):
    withdraw(chain, "5" * 64)
    withdraw(chain, "azureml:others:1")
    withdraw(chain, "licence:MIT")
    kinds = {parse_withdrawal(path.read_text()).kind for path in statements(chain)}
    assert kinds == {"output", "data", "licence"}
    assert chain.kinds("toy:2") == set()


def test_text_for_steps_is_read_again():
    from tfhub_blocks.records.formats.withdrawn import Withdrawn

    licence = Withdrawal("licence", "CC: BY %", (), (), "x y", ("ada",), "2026-01-02T03:04:05Z")
    item = Withdrawal("item", "7" * 64, ("8" * 64,), ("9" * 64,), "x", (), "2026-01-02T03:04:05Z")
    found = Withdrawn.parse(Withdrawn.for_steps([licence, item]).as_text("test"))
    assert found.of_licence("Pictures by Ada. License: cc:  by % ")
    assert not found.of_licence("CC: BY %-NC")
    assert found.of_digests(["8" * 64])
    assert not found.of_digests(["9" * 64, ""])
    for text in ("x", "digest:a:b:c", "other:a:b"):
        with pytest.raises(ValueError, match=r"unpack|unknown"):
            Withdrawn.parse(text)
    many = [Withdrawal("item", f"{n:016x}{0:048x}", (), (), "x", (), "") for n in range(5000)]
    with pytest.raises(BlocksError, match="more than a step can get"):
        Withdrawn.for_steps(many).as_text("test")
