"""Run by test_sample_encoder.py with TORCH_PYTHON: what PyTorch makes of the same weights.

Arguments: the .pth file, an .npy of images in [0, 1] (batch, height, width, 3), the .npz to write.
"""

import sys

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet


def features(model: EfficientNet, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.extract_features(images).mean(dim=(2, 3)).numpy()


def main(checkpoint: str, images_file: str, output_file: str) -> None:
    model = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=checkpoint, drop_connect_rate=0.0
    )
    pixels = torch.from_numpy(np.load(images_file)).permute(0, 3, 1, 2) * 255
    images = (pixels - 127) / 128
    arrays = {"frozen": features(model.eval(), images)}
    arrays["training"] = features(model.train(), images)
    # After one training batch, so these hold the moved averages.
    for name, value in model.state_dict().items():
        if "running" in name:
            arrays[name] = value.numpy()
    np.savez(output_file, **arrays)


main(*sys.argv[1:])
