"""What is drawn of a chain, backward and forward, and which models an item went into."""

import shutil
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest

from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.lineage.uses import find_uses
from tfhub_blocks.records.formats.snapshots import open_snapshot


def places(chain):
    """The path of each item, by its split."""
    snapshot = open_snapshot(chain.output("snapshot", "snapshot"), "test")
    index = snapshot.index()
    splits = dict(zip(index["id"].to_pylist(), index["split"].to_pylist(), strict=True))
    found = {}
    for row in pq.read_table(snapshot.folder.path / "sources.parquet").to_pylist():
        found.setdefault(splits[row["id"]], []).append((row["id"], row["path"]))
    return found


def versions(found):
    return [str(version) for version in found]


def test_model_is_drawn_back_to_its_sources(chain, golden):
    golden("lineage_model", chain.normal(chain.main("lineage", "toy:2", anew=False).out))


def test_run_is_drawn_as_mermaid(chain, golden):
    outcome = chain.main("lineage", chain.runs[1], "--format", "mermaid", anew=False)
    golden("lineage_mermaid", chain.normal(outcome.out))


def test_what_is_not_here_is_drawn_as_that(chain):
    shutil.rmtree(chain.output("encoder", "encoder").parent)
    assert "not found locally" in chain.main("lineage", "toy:2", anew=False).out
    assert '{{"encoder ' in chain.main("lineage", "toy:2", "--format", "mermaid", anew=False).out


class Page(HTMLParser):
    """Which elements and attributes a page has, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = set(), {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= dict(attributes)

    def handle_data(self, data):
        self.text += data


def test_page_asks_for_nothing_and_escapes_what_comes_from_outside(chain):
    _, path = next(pair for pair in places(chain)["train"] if "<b>" in pair[1])
    words = ("--format", "html", "--output", "page.html")
    assert chain.main("lineage", "--uses", path, *words, anew=False).out == "page.html\n"
    page = Page(chain.read("page.html"))
    assert path in page.text
    assert "toy:1, toy:2" in page.text
    assert not page.tags & {"script", "link", "img", "iframe", "b", "object"}
    assert not page.attributes.keys() & {"src", "href", "onload", "xlink:href"}
    assert page.attributes["content"].startswith("default-src 'none'")
    assert "url(" not in chain.read("page.html")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_models_that_learned_from_an_item_are_to_be_retrained(split, chain):
    item, path = places(chain)[split][0]
    for text in (item, path):
        uses = find_uses(text, Archive(chain.folder / ".runs"))
        assert versions(uses.retrain) == ["toy:1", "toy:2"]
        assert uses.measured == []


def test_models_measured_on_an_item_are_to_be_measured_again(chain):
    _, path = places(chain)["test"][0]
    uses = find_uses(path, Archive(chain.folder / ".runs"))
    assert uses.retrain == []
    assert versions(uses.measured) == ["toy:1", "toy:2"]


def test_item_is_found_by_a_file_of_that_content(chain):
    item, path = places(chain)["train"][0]
    (chain.folder / "copy.bmp").write_bytes((chain.folder / "pictures" / path).read_bytes())
    uses = find_uses("copy.bmp", Archive(chain.folder / ".runs"))
    assert {held.item for held in uses.held} == {item}


@pytest.mark.slow
def test_item_of_other_data_is_in_no_model(chain):
    """A model of a snapshot without the picture is none of those."""
    chain.write("pictures/cat/0.bmp", "no picture any more")
    found = places(chain)
    item = next(i for split in found.values() for i, path in split if path == "cat/0.bmp")
    words = ("--set", "saved=saved", "--set", "owner=ada", "--set", "strength=3")
    outcome = chain.main(
        "run", "toy_model", "--set", "source=pictures", *words, "--profile", "local"
    )
    assert outcome.status == 1  # one item in forty is too many to reject
    (chain.folder / "pictures/cat/0.bmp").unlink()
    assert chain.main("run", "toy_model", "--set", "source=pictures", *words).status == 0
    uses = find_uses(item, Archive(chain.folder / ".runs"))
    assert "toy:3" not in versions([*uses.retrain, *uses.measured])
    encoder = find_uses("toy-encoder", Archive(chain.folder / ".runs"))
    assert versions(encoder.retrain) == ["toy:1", "toy:2", "toy:3"]


@pytest.mark.parametrize("what", ["folder", "digest", "name", "handle"])
def test_uses_of_an_encoder(what, chain):
    from tfhub_blocks.records.pins.pins import read_pin

    folder = chain.output("encoder", "encoder")
    pin = read_pin(folder / "encoder.toml")
    text = {"folder": str(folder), "digest": pin.digest, "name": pin.name, "handle": pin.handle}
    uses = find_uses(text[what], Archive(chain.folder / ".runs"))
    assert versions(uses.retrain) == ["toy:1", "toy:2"]
    kinds = {output.kind for output in uses.outputs.values()}
    assert kinds == {"encoder", "model", "report", "evidence", "registration"}


@pytest.mark.parametrize("what", ["run", "toy:1", "folder"])
def test_forward_from_a_model_are_its_evidence_and_its_registration(what, chain):
    text = {"run": chain.runs[0], "folder": str(chain.output("trained", "model", run=0))}
    outcome = chain.main("lineage", text.get(what, what), "--forward", anew=False)
    assert outcome.status == 0
    assert "registered toy:1" in outcome.out
    # The run made the snapshot, too, of which the other model was made.
    assert ("registered toy:2" in outcome.out) == (what == "run")
    uses = find_uses(text.get(what, what), Archive(chain.folder / ".runs"))
    kinds = {output.kind for output in uses.outputs.values()}
    assert {"model", "evidence", "report", "registration"} <= kinds
    assert ("snapshot" in kinds) == (what == "run")


def test_registered_model_is_found_by_its_tags_where_its_chain_is_not_here(chain):
    snapshot = chain.output("snapshot", "snapshot")
    for run in (0, 1):
        shutil.rmtree(chain.output("trained", "model", run=run).parent)
    uses = find_uses(str(snapshot), Archive(chain.folder / ".runs"))
    assert versions(uses.retrain) == ["toy:1", "toy:2"]


def test_uses_are_told(chain, golden):
    _, path = sorted(places(chain)["train"], key=lambda pair: pair[1])[0]
    outcome = chain.main("lineage", "--uses", path, anew=False)
    assert outcome.status == 0
    golden("lineage_uses", chain.normal(outcome.out))


@pytest.mark.parametrize(
    ("name", "words"),
    [("error_lineage_uses", ("--uses", "cat/nothing.bmp")), ("error_lineage_nothing", ())],
)
def test_mistakes_are_told(name, words, chain, golden):
    outcome = chain.main("lineage", *words, anew=False)
    assert outcome.status == 2
    golden(name, outcome.err)
