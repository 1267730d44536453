"""Reading a handful of pictures for a trained model."""

import pytest
import torch
from PIL import Image

import dqroute as dq


def test_pictures_of_any_size_become_what_a_model_takes(tmp_path):
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "wide.png")
    (tmp_path / "below").mkdir()
    Image.new("L", (16, 16), 7).save(tmp_path / "below" / "grey.png")
    images = dq.read_images([tmp_path / "wide.png", str(tmp_path / "below" / "grey.png")], size=16)
    assert images.dtype == torch.uint8 and images.shape == (2, 3, 16, 16)
    assert (images[0, 0] == 255).all() and (images[0, 1:] == 0).all() and (images[1] == 7).all()


def test_unreadable_and_absent_pictures_are_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"2 images|broken\.png.*absent\.png"):
        dq.read_images([tmp_path / "broken.png", tmp_path / "absent.png"], size=16)
    with pytest.raises(ValueError, match="no files"):
        dq.read_images([], size=16)
