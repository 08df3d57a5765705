"""The model that a fine-tuning starts from, which was trained on the published encoder."""

from collections.abc import Mapping
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError


def check_start(metadata: Mapping[str, Any], encoder_digest: str) -> None:
    """Check that fine-tuning can start from the head of a model.

    Raises:
        BlocksError: The model belongs to another encoder, or to a tuned one.
    """
    problem = ""
    if metadata["encoder_digest"] != encoder_digest:
        problem = f"the model was trained on encoder {metadata['encoder_digest']}"
    elif metadata.get("fine_tuned"):
        problem = "the model is an output of fine_tune, so its head belongs to the tuned encoder"
    if problem:
        raise BlocksError(
            "fine_tune",
            "start",
            problem,
            f"a model that train_head trained on encoder {encoder_digest}",
            "Pass an output of train_head on this encoder as start, or leave out start: the step "
            "then fits a head first",
        )
