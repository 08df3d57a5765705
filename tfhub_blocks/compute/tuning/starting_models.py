"""What a fine-tuning starts from: a model that was trained on the encoder as it is."""

from collections.abc import Mapping
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError


def check_start(metadata: Mapping[str, Any], encoder_digest: str) -> None:
    """Refuse a model whose head cannot be gone on from.

    Raises:
        BlocksError: It belongs to another encoder, or to one that was tuned.
    """
    problem = ""
    if metadata["encoder_digest"] != encoder_digest:
        problem = f"it was trained on the encoder with digest {metadata['encoder_digest']}"
    elif metadata.get("fine_tuned"):
        problem = "it is the output of fine_tune, whose head belongs to the tuned encoder"
    if problem:
        raise BlocksError(
            "fine_tune",
            "start",
            problem,
            f"a model of train_head on the encoder that was given, digest {encoder_digest}",
            "give such a model, or none to have a head fitted first",
        )
