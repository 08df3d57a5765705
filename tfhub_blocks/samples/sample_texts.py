"""Sample texts with labels: the names of emoji and their Unicode groups, as one CSV table."""

import csv
import tempfile
from pathlib import Path

from tfhub_blocks.samples.emoji import grouped_emoji
from tfhub_blocks.samples.pinned_samples import refuse_existing

TABLE_NAME = "emoji.csv"
TEXTS_PER_GROUP = 150


def write_sample_texts(folder: Path) -> int:
    """Write labelled sample texts and return their number.

    ``emoji.csv`` has the columns ``text``, such as "slice of pizza", and ``label``, such as
    "Food & Drink". The same package gives the same bytes. The folder is complete or absent.

    Raises:
        BlocksError: The folder exists already.
    """
    refuse_existing(folder)
    rows = [(entry.name.lower(), group) for group, entry in grouped_emoji(TEXTS_PER_GROUP)]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        unfinished = Path(temporary) / folder.name
        unfinished.mkdir()
        with (unfinished / TABLE_NAME).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("text", "label"), *rows])
        unfinished.rename(folder)
    return len(rows)
