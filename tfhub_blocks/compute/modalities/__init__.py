"""The modalities, by name. A new modality is a new file in this package and a new line below.

Its class defines everything that differs: the items, their way to an encoder's input, and their
look on a page. No other code in steps or pipelines depends on the kind of items.
"""

from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.modalities.sounds import Sounds
from tfhub_blocks.compute.modalities.texts import Texts

MODALITIES: dict[str, type[Modality]] = {
    each.name: each
    for each in (
        Images,
        Texts,
        Sounds,
        Modality,
    )
}
