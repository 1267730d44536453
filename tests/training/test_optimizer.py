"""Steps of the two optimizers worked by hand, and that Muon's matrices are the kernels themselves."""

import pytest
import torch
from torch import nn

from dqroute.methods.base import METHODS
from dqroute.training.optimizer import Updates, as_matrix
from dqroute.training.settings import Settings


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 4, 2)).to(
        memory_format=torch.channels_last
    )


def loss_of(model):
    torch.manual_seed(1)
    return model(torch.randn(16, 3, 4, 4)).square().mean()


def step(model, updates, loss, share):
    model.zero_grad()
    loss.backward()
    updates.step(share)


def test_muon_changes_a_kernel_by_the_same_amount_in_every_direction():
    """Rate 0.1 at half its peak, no decay: the change has all its singular values near 0.05, the gradient's span a
    decade. Five Newton-Schulz iterations in bf16 come within a third of the orthogonal matrix."""
    model = network()
    kernel = model[0].weight
    before = kernel.detach().clone()
    updates = Updates(model, Settings(optimizer="muon", kernel_lr=0.1, kernel_decay=0))
    loss = loss_of(model)
    step(model, updates, loss, 0.5)
    change = torch.linalg.svdvals((kernel.detach() - before).flatten(1))
    gradient = torch.linalg.svdvals(kernel.grad.flatten(1))
    assert gradient.max() > 10 * gradient.min()
    assert change.max() < 0.05 * 1.34 and change[:-1].min() > 0.05 * 0.66


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_kernels_of_one_shape_move_together_as_torchs_muon_moves_each(memory_format):
    """Three wide, two tall and one of 1x1; three steps, so that momentum counts."""
    torch.manual_seed(0)
    shapes = [(8, 3, 3, 3)] * 3 + [(64, 4, 2, 2)] * 2 + [(16, 8, 1, 1)]
    kernels = [torch.randn(shape).to(memory_format=memory_format) for shape in shapes]
    ours = nn.ParameterList(nn.Parameter(kernel.clone()) for kernel in kernels)
    ours.append(nn.Parameter(torch.zeros(2)))  # SGD has to have something too
    theirs = [as_matrix(kernel.clone()) for kernel in kernels]
    updates = Updates(ours, Settings(optimizer="muon", kernel_lr=0.1, kernel_decay=0.2))
    muon = torch.optim.Muon(theirs, lr=0.05, weight_decay=0.2)
    for _ in range(3):
        for kernel, matrix in zip(ours, theirs, strict=False):
            kernel.grad = torch.randn_like(kernel)
            matrix.grad = as_matrix(kernel.grad)
        updates.step(0.5)
        muon.step()
    for kernel, matrix in zip(ours, theirs, strict=False):
        torch.testing.assert_close(as_matrix(kernel.detach()), matrix, rtol=0, atol=1e-3)


def test_muon_decays_a_kernel_by_rate_times_decay():
    """A kernel of which the loss knows nothing: after one step at rate 0.1 and decay 0.2 it is 0.98 of what it was."""
    model = network()
    updates = Updates(model, Settings(optimizer="muon", kernel_lr=0.1, kernel_decay=0.2))
    before = model[0].weight.detach().clone()
    step(model, updates, 0 * loss_of(model), 1.0)
    assert torch.allclose(model[0].weight, 0.98 * before)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_all_but_kernels_take_steps_of_sgd(optimizer):
    """The first step with Nesterov momentum 0.9 is 1.9 times the decayed gradient: w ← w - r · 1.9 (g + λw)."""
    model = network()
    before = model[3].weight.detach().clone()
    updates = Updates(model, Settings(optimizer=optimizer, lr=0.2, weight_decay=0.01))
    step(model, updates, loss_of(model), 0.5)
    change = 0.1 * 1.9 * (model[3].weight.grad + 0.01 * before)
    assert torch.allclose(model[3].weight, before - change, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "muon", "adamw"])
def test_momenta_go_from_one_training_to_the_next(optimizer):
    """Two steps in one go, and with the weights and momenta handed over in between, are the same to the last bit."""
    settings = Settings(optimizer=optimizer)
    whole, first, second = network(), network(), network()
    updates = Updates(whole, settings)
    for _ in range(2):
        step(whole, updates, loss_of(whole), 1.0)
    begun = Updates(first, settings)
    step(first, begun, loss_of(first), 1.0)
    second.load_state_dict(first.state_dict())
    resumed = Updates(second, settings)
    resumed.resume({name: held.clone() for name, held in begun.momenta().items()})
    step(second, resumed, loss_of(second), 1.0)
    assert {key.partition(".")[2] for key in begun.momenta()} == {name for name, _ in whole.named_parameters()}
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_the_trunk_takes_its_own_share_of_every_rate(optimizer, problem, batch):
    """From the same weights, one step with the trunk at a quarter moves it a quarter as far, and the rest as before."""
    images, labels = batch
    moved = {}
    for factor in (1.0, 0.25):
        torch.manual_seed(0)
        model = METHODS["cross-entropy"](problem)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        updates = Updates(model, Settings(optimizer=optimizer, weight_decay=0, kernel_decay=0, trunk_lr=factor))
        step(model, updates, model.loss(model(images), labels), 1.0)
        moved[factor] = {name: p.detach() - before[name] for name, p in model.named_parameters()}
    for name, whole in moved[1.0].items():
        share = 0.25 if name.startswith("network.trunk.") else 1.0
        assert whole.any(), name
        torch.testing.assert_close(moved[0.25][name], share * whole, atol=1e-6, rtol=1e-4)
