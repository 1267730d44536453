"""The folded copy predicts what the network predicts."""

import pytest
import torch

from dqroute.models.experts import ExpertNetwork
from dqroute.models.folding import Folded, for_prediction


def trained(backbone, channels=3, shared_depth=1):
    """A network whose batch norms have seen images and are no longer the identity."""
    torch.manual_seed(0)
    network = ExpertNetwork(backbone, 7, channels, 2, shared_depth)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    network.train()(2 * torch.randn(16, channels, 32, 32) + 1)
    return network.eval()


@pytest.mark.parametrize(
    ("backbone", "shared_depth"), [("resnet8", 1), ("resnet8", 3), ("resnet20", 2), ("resnet18", 1)]
)
def test_folded_equals_unfolded(backbone, shared_depth):
    network = trained(backbone, shared_depth=shared_depth)
    images = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        for there, here in zip(network(images)[:3], for_prediction(network, bf16=False)(images)[:3], strict=True):
            torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)


def test_no_batch_norm_is_left_and_the_original_keeps_its_own():
    network = trained("resnet8")
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    folded = for_prediction(network, bf16=False)
    assert norms and not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)] == norms


def test_in_bf16_the_labels_hardly_change():
    network = trained("resnet8")
    images = torch.randn(200, 3, 32, 32)
    with torch.no_grad():
        there = network(images).logits
        here = for_prediction(network, bf16=True)(images.bfloat16()).logits
    assert here.dtype == torch.float32
    assert (here - there).abs().max() < 0.05 * there.abs().max()
    assert (here.argmax(dim=2) == there.argmax(dim=2)).float().mean() > 0.9


def test_it_is_folded_anew_after_every_write_to_the_network_and_not_without_one():
    network, fold = trained("resnet8"), Folded()
    found = [fold(network, bf16=False)]
    assert fold(network, bf16=False) is found[0]
    with torch.no_grad():
        network.classifiers[0].weight.mul_(2)
    found.append(fold(network, bf16=False))
    network.train()(torch.randn(4, 3, 8, 8))  # moves the running statistics
    found.append(fold(network, bf16=False))
    network.load_state_dict(trained("resnet8").state_dict())
    found.append(fold(network, bf16=False))
    found.append(fold(network, bf16=True))
    assert len(set(map(id, found))) == 5


@pytest.mark.parametrize("write", ["fused", "data"])
def test_writes_that_torch_does_not_count_are_seen(write):
    """A fused optimizer's step, and one by way of ``.data``, leave the counter of a tensor's versions where it was."""
    network, fold, images = trained("resnet8"), Folded(), torch.randn(2, 3, 32, 32)
    before = fold(network, bf16=False)(images).logits
    parameters = list(network.parameters())
    versions = [p._version for p in parameters]
    if write == "fused":
        for p in parameters:
            p.grad = torch.ones_like(p)
        torch.optim.SGD(parameters, lr=0.1, fused=True).step()
    else:
        for p in parameters:
            p.data.add_(0.1)
    assert [p._version for p in parameters] == versions, "torch counts this now; the test needs another unseen write"
    torch.testing.assert_close(fold(network, bf16=False)(images).logits, network(images).logits, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(before, network(images).logits, atol=1e-2)
