"""Facts about the encoders of the most used publishers, with the page that states each fact."""

# decision 97

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_KERAS = "https://keras.io/api/applications/"
_HUB = "https://www.tensorflow.org/hub/common_signatures/"
_ON_HUB = "https://tfhub.dev/google/"
# The preprocessing of Keras applications in the mode "caffe": blue, green, red.
_CAFFE = {
    "range": [0.0, 255.0],
    "channels": "bgr",
    "mean": [103.939, 116.779, 123.68],
}
_TORCH = {
    "range": [0.0, 1.0],
    "mean": [0.485, 0.456, 0.406],
    "deviation": [0.229, 0.224, 0.225],
}
_TF = {"range": [-1.0, 1.0]}
_BYTES = {"range": [0.0, 255.0]}


@dataclass(frozen=True)
class Family:
    """A publisher's encoders: how they are recognised, their facts, and the source of the facts.

    ``handle`` is a pattern of the encoder's address. ``variables`` are patterns that the names of
    the variables match. ``facts`` are facts of the pin, and ``told`` are facts that no preparation
    depends on, such as a language.
    """

    name: str
    source: str
    handle: str = ""
    variables: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)

    def matches(self, handle: str, names: Iterable[str]) -> bool:
        """Return True if the address or the names of the variables are those of this family."""
        if self.handle and re.search(self.handle, handle, re.IGNORECASE):
            return True
        joined = "\n".join(names)
        return bool(self.variables) and all(
            re.search(pattern, joined, re.MULTILINE) for pattern in self.variables
        )


def _application(name: str, facts: Mapping[str, Any], *variables: str) -> Family:
    page = f"{_KERAS}{re.split('[ ,]', name)[0].lower()}/"
    patterns = tuple(rf"(^|/){pattern}" for pattern in variables)
    return Family(f"Keras applications, {name}", page, variables=patterns, facts=facts)


# The first that matches counts. Names of layers come from the applications' own code.
FAMILIES: tuple[Family, ...] = (
    Family(
        "YAMNet",
        f"{_ON_HUB}yamnet/1",
        handle=r"yamnet",
        facts={"rate_hz": 16000, "output": "1"},
        told={"window": "0.96 s, each 0.48 s"},
    ),
    Family(
        "VGGish",
        f"{_ON_HUB}vggish/1",
        handle=r"vggish",
        variables=(r"(^|/)vggish/conv1/",),
        facts={"rate_hz": 16000},
        told={"window": "0.96 s"},
    ),
    Family(
        "TRILL and FRILL",
        "https://tfhub.dev/google/nonsemantic-speech-benchmark/trill/3",
        handle=r"nonsemantic-speech-benchmark|\b(trill|frill)\b",
        facts={"rate_hz": 16000},
    ),
    Family(
        "Speech embedding",
        f"{_ON_HUB}speech_embedding/1",
        handle=r"google/speech_embedding",
        facts={"rate_hz": 16000},
    ),
    Family(
        "Universal Sentence Encoder, multilingual",
        f"{_ON_HUB}universal-sentence-encoder-multilingual/3",
        handle=r"universal-sentence-encoder-(cmlm/)?multilingual",
        told={"language": "16 languages or more"},
    ),
    Family(
        "Universal Sentence Encoder",
        f"{_ON_HUB}universal-sentence-encoder/4",
        handle=r"universal-sentence-encoder",
        told={"language": "English"},
    ),
    Family(
        "NNLM",
        f"{_ON_HUB}nnlm-en-dim128/2",
        handle=r"nnlm-\w+-dim",
        told={"language": "that in its name"},
    ),
    Family(
        "BERT",
        "https://www.tensorflow.org/text/tutorials/classify_text_with_bert",
        handle=r"(^|[/_])(small_|al)?bert_|/bert[_-]",
        variables=(r"bert|transformer/layer_0|word_embeddings", r"self_attention|attention"),
        told={"language": "that of its vocabulary"},
    ),
    Family(
        "TF Hub's common image signature",
        f"{_HUB}images",
        handle=r"google/(imagenet|tf2-preview|bit|efficientnet|experts|remote_sensing|inaturalist)",
        facts={"range": [0.0, 1.0]},
    ),
    _application("MobileNetV2", _TF, r"bn_Conv1/", r"expanded_conv_depthwise/"),
    _application("MobileNetV3", _BYTES, r"expanded_conv[/_](depthwise|project)"),
    _application("MobileNet", _TF, r"conv1/", r"conv_dw_1/"),
    _application("InceptionResNetV2", _TF, r"conv_7b/"),
    _application("Xception", _TF, r"block1_conv1/", r"block2_sepconv1"),
    _application("ResNetV2", _TF, r"conv1_conv/", r"conv2_block1_preact_bn/"),
    _application("ResNet", _CAFFE, r"conv1_conv/", r"conv2_block1_1_conv/"),
    _application("DenseNet", _TORCH, r"conv2_block1_0_bn/", r"conv2_block1_1_conv/"),
    _application("VGG", _CAFFE, r"block1_conv1/", r"block5_conv1/"),
    _application("NASNet", _TF, r"stem_conv1/", r"separable_conv_1_bn"),
    _application("EfficientNet", _BYTES, r"stem_conv/", r"block1a_(dwconv|project_conv)"),
    _application("ConvNeXt", _BYTES, r"convnext_\w+_stage_0_block_0"),
)


def find_family(handle: str, names: Iterable[str]) -> Family | None:
    """Return the family of an encoder, by its address and the names of its variables."""
    kept = list(names)
    return next((family for family in FAMILIES if family.matches(handle, kept)), None)
