"""The reason why a form of SavedModel is refused, and what the user can do about it."""

# decision 95

import re

from tfhub_blocks.compute.tf.saved_model_loading import SIGNATURES, SavedObject, first_line
from tfhub_blocks.records.pins.pins import Pin

# TensorFlow's first lines that name no reason.
_EMPTY = ("Graph execution error", "Exception encountered")
_NODE = re.compile(r"^\s*\[\[\{\{|^Detected at|^Stack trace|^\s*File |^Node:|^defined at|^\s*$")
_LONGEST = 200


def reason_line(error: Exception) -> str:
    """Return the class of an error and the line of its message that states the reason."""
    told = first_line(error)
    if not any(empty in told for empty in _EMPTY):
        return told
    lines = [line.strip() for line in str(error).splitlines()]
    node = next((n for n, line in enumerate(lines) if "[[{{" in line), None)
    if node:
        before, _, _ = lines[node].partition("[[{{")
        reason = before.strip() or lines[node - 1]
        return f"{type(error).__name__}: {reason}"[:_LONGEST]
    kept = [
        line
        for line in lines
        if not _NODE.search(line) and not any(empty in line for empty in _EMPTY)
    ]
    return f"{type(error).__name__}: {kept[-1] if kept else 'no reason is stated'}"[:_LONGEST]


def refusal_remedy(loaded: SavedObject) -> str:
    """Return what the user can do about an input that no modality takes."""
    told = loaded.told
    others = ", ".join(name for name in loaded.others if name != loaded.signature)
    ways = [f"Pass the fact signature=NAME with another signature ({others})"] if others else []
    if "int32[" in told or "int64[" in told:
        ways.append(
            "If these are tokens, put the publisher's preprocessor into the folder preprocessor/ "
            "next to saved_model.pb"
        )
    ways.append(
        "Save a tf.Module whose __call__ takes one input of a form that docs/encoders.md lists"
    )
    return ". ".join(ways)


def failure_remedy(pin: Pin, loaded: SavedObject) -> str:
    """Return what the user can do about an encoder that fails on sample items."""
    others = ", ".join(name for name in loaded.others if name not in SIGNATURES)
    hint = f"Pass the fact signature=NAME ({others}), or look up" if others else "Look up"
    size = (
        "; if it takes one size only, pass size_px=HEIGHT:WIDTH" if "size_px" in pin.input else ""
    )
    return f"{hint} on the publisher's page how the encoder is called{size}"
