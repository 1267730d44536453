"""Mean and deviation of pixels."""

import torch

from dqroute.data.pixels import pixel_statistics


def test_pixel_statistics_by_hand():
    """Channel 0: 0, 0, 100, 100: mean 50, deviation 50. Channel 1: all 7, deviation raised to 1."""
    images = torch.tensor([[[0, 0], [100, 100]], [[7, 7], [7, 7]]], dtype=torch.uint8)[None]
    assert pixel_statistics(images) == ((50.0, 7.0), (50.0, 1.0))


def test_images_in_pieces_count_like_images_in_one():
    images = torch.randint(256, (10, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert pixel_statistics(iter(images.split(3))) == pixel_statistics(images)
    expected = images.double().std(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(torch.tensor(pixel_statistics(images)[1]).double(), expected, atol=1e-3, rtol=0)
