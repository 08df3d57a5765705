"""The modalities, by name. Another one is another file here and another line below.

Its class says all that differs: what its items are, how they become an encoder's input, how a page
shows them. Nothing else in steps or pipelines asks what kind of items it has.
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
