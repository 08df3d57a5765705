"""Encoder decisions, and the effect of each on start-up, on cost and on recovery."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tfhub_blocks.records.pins.pins import Decisions

# Under experiment any encoder may be tried; production requires all decisions and a version.
EncoderPolicy = Literal["experiment", "production"]
POLICY_VARIABLE = "TFHUB_BLOCKS_ENCODER_POLICY"
DEFAULT_POLICY: EncoderPolicy = "production"


@dataclass(frozen=True)
class Meaning:
    """The effects of one value of a decision, in words.

    ``{size}``, ``{load}`` and ``{budget}`` are replaced by measured or decided values.
    """

    start_up: str
    cost: str
    recovery: str


_UNDECIDED = Meaning(
    "as {default}", "as {default}", "production refuses this encoder until you decide"
)
MEANINGS: Mapping[str, Mapping[str, Meaning]] = {
    "loading": {
        "mounted": Meaning(
            "each step mounts or copies {size}, then verifies and loads them in {load}",
            "storage for each version once; no image to build",
            "every version stays in the workspace; to go back, name the earlier version",
        ),
        "baked": Meaning(
            "no file is copied; a step verifies and loads the encoder in {load}. A node without "
            "the image pulls {size} more",
            "one image for each version, built once and stored in the container registry",
            "steps need neither network nor storage; another encoder needs another image and "
            "version",
        ),
        "downloaded": Meaning(
            "a new node downloads {size} first, then verifies and loads them in {load}; later "
            "steps on the node use its cache",
            "no storage; you pay for each new node while it downloads",
            "steps start only while publisher and network respond; a download that differs from "
            "the pin is refused",
        ),
        "undecided": _UNDECIDED,
    },
    "fine_tuning": {
        "forbidden": Meaning(
            "features are computed once for each item, and cached",
            "training a head takes seconds on a CPU",
            "all models contain the same encoder and differ only in the head",
        ),
        "allowed": Meaning(
            "training loads the encoder with all its variables and runs it in every epoch",
            "a GPU for each training, and no cached features for the trained part",
            "each model contains its own weights; to go back, register an earlier model",
        ),
        "undecided": _UNDECIDED,
    },
    "inference": {
        "batch": Meaning(
            "{load} for each job, which is negligible",
            "you pay for compute only while a job runs",
            "a failed job is run again",
        ),
        "realtime": Meaning(
            "{load} before the first answer of each new instance; then {budget} for one item",
            "you pay for at least one instance all the time",
            "lost instances start again; keep one instance more than the load needs",
        ),
        "undecided": _UNDECIDED,
    },
}
_DEFAULTS = {"loading": "mounted", "fine_tuning": "forbidden", "inference": "batch"}


def undecided(decisions: Decisions) -> list[str]:
    """Return the names of the open decisions."""
    return [name for name in MEANINGS if getattr(decisions, name) == "undecided"]


def explained(decisions: Decisions, size: str, load: str) -> Iterator[tuple[str, str, Meaning]]:
    """Yield each decision as its name, its value and its effects.

    Args:
        decisions: The decisions of a pin.
        size: The size of the SavedModel, in words.
        load: The time to verify and load the SavedModel, in words.
    """
    words = {"size": size, "load": load, "budget": f"at most {decisions.latency_budget_ms} ms"}
    for name, meanings in MEANINGS.items():
        value = getattr(decisions, name)
        meaning, default = meanings[value], _DEFAULTS[name]
        texts = (meaning.start_up, meaning.cost, meaning.recovery)
        yield name, value, Meaning(*(t.format(default=default, **words) for t in texts))
