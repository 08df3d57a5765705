"""Each kind of tampering is found; an untouched chain holds."""

import json

from tfhub_blocks.control.lineage.archives import Archive


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
    assert begins == {str(chain.folder / "pictures"), str(chain.folder / "saved")}
    assert len(Archive(chain.folder / ".runs").outputs) == 10
