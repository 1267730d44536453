"""Photographs for the tests, made on the spot."""

import numpy as np
from PIL import Image


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 ``[height, width, 3]``: coloured patches with sharp edges under fine noise."""
    random = np.random.default_rng(seed)
    patches = random.integers(0, 256, (-(-height // 24), -(-width // 24), 3))
    pixels = np.kron(patches, np.ones((24, 24, 1), dtype=int))[:height, :width] + random.integers(
        -20, 20, (height, width, 1)
    )
    return pixels.clip(0, 255).astype(np.uint8)


def save_picture(path, height: int = 60, width: int = 80, seed: int = 0, **options) -> np.ndarray:
    """Write a picture, its kind by the name's ending, and return it as it was before."""
    pixels = picture(height, width, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels
