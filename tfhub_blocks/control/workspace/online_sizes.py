"""The machine sizes of managed online endpoints, which are not those of clusters."""

from tfhub_blocks.records.base.errors import nearest

# decision 83

SOURCE = "learn.microsoft.com/azure/machine-learning/reference-managed-online-endpoints-vm-sku-list"
DAY = "2025-05-19"
# Each row: the sizes of one family as Azure writes them, with the numbers that {} stands for.
_FAMILIES = (
    ("Standard_D{}as_v4", "2 4 8 16 32 48 64 96"),
    ("Standard_D{}a_v4", "2 4 8 16 32 48 64 96"),
    ("Standard_DS{}_v2", "1 2 3 4 5"),
    ("Standard_E{}s_v3", "2 4 8 16 32 48 64"),
    ("Standard_F{}s_v2", "2 4 8 16 32 48 64 72"),
    ("Standard_FX{}mds", "4 12 24 36 48"),
    ("Standard_L{}as_v3", "8 16 32 48 64 80"),
    ("Standard_L{}s_v2", "8 16 32 48 64 80"),
    ("Standard_L{}s_v3", "8 16 32 48 64 80"),
    ("Standard_NC{}ads_A100_v4", "24 48 96"),
    ("Standard_NC{}as_T4_v3", "4 8 16 64"),
    ("Standard_NC{}s_v2", "6 12 24"),
    ("Standard_NC{}s_v3", "6 12 24"),
    ("Standard_NC40ads_H100_v5", ""),
    ("Standard_NC80adis_H100_v5", ""),
    ("Standard_ND96amsr_A100_v4", ""),
    ("Standard_ND96asr_v4", ""),
    ("Standard_ND40rs_v2", ""),
    ("Standard_ND96is_H100_v5", ""),
    ("Standard_ND96isr_H100_v5", ""),
    ("Standard_NV{}ads_A10_v5", "6 12 18 36 72"),
    ("Standard_NV36adms_A10_v5", ""),
)
ONLINE_SIZES = {
    size.casefold(): size
    for pattern, numbers in _FAMILIES
    for size in ([pattern.format(number) for number in numbers.split()] or [pattern])
}


def is_online_size(size: str) -> bool:
    """Return True if managed online endpoints run on a machine size."""
    return size.casefold() in ONLINE_SIZES


def nearest_online_size(size: str) -> str:
    """Return a sentence that names the most similar size of online endpoints, or an empty text."""
    return nearest(size, ONLINE_SIZES.values())
