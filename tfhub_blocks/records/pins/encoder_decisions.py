"""What each decision about an encoder means: for start-up, for cost, and when something fails."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tfhub_blocks.records.pins.pins import Decisions

# Whether an encoder may be tried as it is, or has to be decided about and named to the version.
EncoderPolicy = Literal["experiment", "production"]
POLICY_VARIABLE = "TFHUB_BLOCKS_ENCODER_POLICY"
DEFAULT_POLICY: EncoderPolicy = "production"


@dataclass(frozen=True)
class Meaning:
    """What follows from one value of a decision, in words.

    ``{size}``, ``{load}`` and ``{budget}`` stand for what is measured or decided.
    """

    start_up: str
    cost: str
    recovery: str


_UNDECIDED = Meaning("as {default}", "as {default}", "production refuses it: decide")
MEANINGS: Mapping[str, Mapping[str, Meaning]] = {
    "loading": {
        "mounted": Meaning(
            "{size} are mounted or copied for each step, then verified and loaded in {load}",
            "storage for each version once; no image to build",
            "every version stays in the workspace: going back is naming the earlier one",
        ),
        "baked": Meaning(
            "nothing travels; verified and loaded in {load}. A node that lacks the image pulls "
            "{size} more of it",
            "an image for each version, built once and kept in the container registry",
            "needs neither network nor storage; another encoder is another image and version",
        ),
        "downloaded": Meaning(
            "a new node downloads {size} first, then verifies and loads in {load}; from its cache "
            "it does that at once",
            "nothing is stored, and each new node is paid for while it downloads",
            "starts only while publisher and network answer; what comes is what was pinned, or "
            "is refused",
        ),
        "undecided": _UNDECIDED,
    },
    "fine_tuning": {
        "forbidden": Meaning(
            "features are computed once for each item, and cached",
            "training a head takes seconds on a CPU",
            "the same encoder is in each model: what differs is the head",
        ),
        "allowed": Meaning(
            "training loads the encoder with all its variables and runs through it again and again",
            "a GPU for each training, and no cached features for what is trained",
            "each model holds weights of its own: going back is registering an earlier model",
        ),
        "undecided": _UNDECIDED,
    },
    "inference": {
        "batch": Meaning(
            "{load} once a job, which does not matter there",
            "compute is paid while a job runs, and not in between",
            "a job that failed is run again",
        ),
        "realtime": Meaning(
            "{load} before the first answer of each new instance; then {budget} for one item",
            "at least one instance is paid for all the time",
            "instances that are lost start again: keep one more than the load needs",
        ),
        "undecided": _UNDECIDED,
    },
}
_DEFAULTS = {"loading": "mounted", "fine_tuning": "forbidden", "inference": "batch"}


def undecided(decisions: Decisions) -> list[str]:
    """The names of the decisions that are open."""
    return [name for name in MEANINGS if getattr(decisions, name) == "undecided"]


def explained(decisions: Decisions, size: str, load: str) -> Iterator[tuple[str, str, Meaning]]:
    """Each decision: its name, what was decided, and what that means.

    Args:
        decisions: What was decided.
        size: How large the SavedModel is, in words.
        load: How long it takes to verify and load, in words.
    """
    words = {"size": size, "load": load, "budget": f"at most {decisions.latency_budget_ms} ms"}
    for name, meanings in MEANINGS.items():
        value = getattr(decisions, name)
        meaning, default = meanings[value], _DEFAULTS[name]
        texts = (meaning.start_up, meaning.cost, meaning.recovery)
        yield name, value, Meaning(*(t.format(default=default, **words) for t in texts))
