import pytest

from tfhub_blocks.compute.data.place_contents import MAX_ITEM_BYTES, content_fault
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Limits

LIMITS = Limits(max_pixels=1_000_000, max_seconds=10)


@pytest.mark.parametrize("modality", MODALITIES)
def test_nothing_is_no_item(modality):
    assert content_fault(b"", modality, LIMITS) == "the item is empty"


def test_content_larger_than_a_shard_is_rejected():
    content = bytes(MAX_ITEM_BYTES + 1)
    fault = content_fault(content, "bytes", LIMITS)
    assert fault == "the item has 134217729 bytes, more than 134217728"
