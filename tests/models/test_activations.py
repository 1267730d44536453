"""Activations along with convolutions: the same numbers, wherever they are computed and whatever is registered."""

import pytest
import torch
from torch import nn

from dqroute.models.activations import ACTIVATIONS, AT_ONCE, Activated, activate_along_the_way
from dqroute.models.encoders import faster

pytestmark = pytest.mark.skipif(AT_ONCE is None, reason="torch is built without the library that does both at once")


class Shared(nn.Module):
    """Names one activation after its last convolution, calls it after both and after their sum."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.activation = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.ReLU()

    def forward(self, maps):
        maps = self.activation(self.first(maps))
        return self.activation(self.second(maps) - maps)


@pytest.mark.parametrize("kind", list(ACTIVATIONS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("groups, padding", [(1, 0), (2, 1), (2, "same")])
def test_the_same_numbers_in_one_pass(kind, dtype, groups, padding):
    apart = nn.Sequential(nn.Conv2d(4, 8, 3, padding=padding, groups=groups), nn.Identity(), kind()).to(dtype)
    with torch.no_grad():
        apart[0].weight *= 20  # so that 6 is passed as well
    maps = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = apart(maps)
    together = activate_along_the_way(apart)
    assert isinstance(together[0], Activated) and isinstance(together[2], nn.Identity)
    with torch.inference_mode():
        # Apart bfloat16 is rounded twice.
        torch.testing.assert_close(
            together(maps),
            expected.detach(),
            rtol=0.02 if dtype is torch.bfloat16 else 1e-4,
            atol=1e-3 if dtype is torch.bfloat16 else 1e-5,
        )
    assert expected.max() > 6 or kind is nn.ReLU6


def test_an_encoder_that_calls_its_modules_in_another_order_keeps_what_it_computes():
    network, pictures = Shared().requires_grad_(False), torch.randn(2, 3, 8, 8)
    expected = network(pictures).mean(dim=(2, 3))
    found, width = faster(network, 8)
    assert width == 4
    torch.testing.assert_close(found(pictures).mean(dim=(2, 3)), expected)


def test_gradients_and_exports_take_both_one_after_the_other():
    network = activate_along_the_way(nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU()))
    pictures = torch.randn(1, 3, 6, 6, requires_grad=True)
    network(pictures).sum().backward()
    assert pictures.grad is not None and pictures.grad.abs().sum() > 0
    with torch.no_grad():
        exported = torch.export.export(network, (torch.randn(1, 3, 6, 6),))
    assert not any("mkldnn" in str(node.target) for node in exported.graph.nodes)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert network(torch.randn(1, 3, 6, 6)).dtype == torch.bfloat16


def test_a_block_at_two_places_is_changed_once():
    block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    network = nn.Sequential(nn.Sequential(block), nn.Sequential(block))
    pictures = torch.randn(1, 3, 4, 4)
    expected = network(pictures)
    activate_along_the_way(network)
    assert isinstance(block[0], Activated) and isinstance(block[0].conv, nn.Conv2d)
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), expected.detach())


def test_where_both_at_once_fails_an_encoder_does_one_after_the_other(monkeypatch):
    def fails(*_):
        raise RuntimeError("another signature")

    monkeypatch.setattr("dqroute.models.activations.AT_ONCE", fails)
    network, pictures = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False), torch.randn(2, 3, 8, 8)
    found, _ = faster(network, 8)
    torch.testing.assert_close(found(pictures), network(pictures))
