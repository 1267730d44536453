"""Convolutions that pad first, made to pad along the way: the same numbers, for any side, kernel and stride."""

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from dqroute.models.encoders import BUNDLED, loaded
from dqroute.models.padding import is_same, pad_along_the_way


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9), (7, 12)])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_convolution_gives_what_it_gave(size, kernel, stride):
    network = nn.Sequential(Conv2dSame(4, 8, kernel, stride, groups=2), nn.ReLU(), Conv2dSame(8, 8, 3, 2, bias=False))
    pictures = torch.randn(2, 4, *size)
    expected = network(pictures)
    plain = pad_along_the_way(network, pictures[:1])
    assert not any(is_same(module) for module in plain.modules())
    torch.testing.assert_close(plain(pictures), expected, rtol=1e-4, atol=1e-5)


def test_by_hand():
    """Of four pixels and a stride of 2 the window of 3 begins at the first, and only the last reaches beyond."""
    network = nn.Sequential(Conv2dSame(1, 1, 3, 2, bias=False))
    network[0].weight.data = torch.tensor([[0.0, 0, 0], [1, 10, 100], [0, 0, 0]])[None, None]
    pictures = torch.arange(1.0, 17).view(1, 1, 4, 4)
    plain = pad_along_the_way(network, pictures)
    assert plain[0].weight.shape == (1, 1, 4, 4) and plain[0].padding == (1, 1)
    assert plain(pictures).flatten().tolist() == [5 + 60 + 700, 7 + 80, 13 + 140 + 1500, 15 + 160]


def test_what_is_not_known_stays_as_it_was():
    """A kernel with gaps, and a convolution that is never called."""
    network = nn.Sequential(Conv2dSame(1, 1, 3, 2, dilation=2))
    network[0].spare = Conv2dSame(1, 1, 3, 2)
    expected = network(torch.ones(1, 1, 9, 9))
    assert torch.equal(pad_along_the_way(network, torch.ones(1, 1, 9, 9))(torch.ones(1, 1, 9, 9)), expected)
    assert sum(map(is_same, network.modules())) == 2


def test_the_bundled_encoder_copies_no_picture_into_a_frame():
    assert not any(is_same(module) for module in loaded(BUNDLED).network.modules())
