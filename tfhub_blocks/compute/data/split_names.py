"""Names that mean splits, in the words in which people write them.

A name is a word of a split, alone or with words that only say that it is data: ``training_set``,
``Test2017``, ``val_images``, ``held-out``.
"""

import re
import unicodedata
from functools import lru_cache

_WORDS = {
    "train": "train training trained trainval trn tr learn learning entrainement apprentissage "
    "entrenamiento treino treinamento addestramento ausbildung lernen trainieren",
    "validation": "validation validations validating validate validated val vals valid vali "
    "dev devel development eval evals evaluation evaluate evaluating tune tuning "
    "validacion validacao validazione validierung",
    "test": "test tests testing tested tst te holdout heldout unseen prueba pruebas teste testes "
    "pruefung",
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words.split()}
# Words of data, not of a class.
_FILLER_WORDS = (
    "set sets data dataset datasets image images img imgs picture pictures pic pics photo "
    "photos jpg jpeg png audio sound sounds wav wavs clip clips text texts file files sample "
    "samples example examples item items split splits part parts folder dir phase the my new "
    "final batch full small mini clean cleaned original resized cropped processed augmented "
    "aug v partition subset crop crops"
)
_FILLERS = frozenset(_FILLER_WORDS.split())
# Two words that mean one.
_JOINED = {("hold", "out"): "holdout", ("held", "out"): "heldout"}
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
# Written as one word, such as trainset and testdata.
_SUFFIXES = ("dataset", "datas", "data", "images", "image", "imgs", "img", "sets", "set", "split")

TOO_SHORT = frozenset({"tr", "te", "v"})


@lru_cache(maxsize=4096)
def split_of(name: str) -> str | None:
    """Return the split that a name means, or None.

    Words that are too short to be clear (``tr``, ``te``) count only alone.
    """
    plain = unicodedata.normalize("NFKD", name.strip())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    parts = [part.lower() for part in _PARTS.findall(plain)]
    parts = [part for part in parts if not part.isdigit()]
    found: list[str] = []
    while parts:
        first = parts.pop(0)
        if parts and (first, parts[0]) in _JOINED:
            first = _JOINED[first, parts.pop(0)]
        if first not in _FILLERS:
            found.append(_without_suffix(first))
    if len(found) != 1:
        return None
    word = found[0]
    if word in TOO_SHORT and plain.lower() != word:
        return None
    return _SPLIT_OF.get(word)


def _without_suffix(word: str) -> str:
    if word in _SPLIT_OF:
        return word
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and word.removesuffix(suffix) in _SPLIT_OF:
            return word.removesuffix(suffix)
    return word
