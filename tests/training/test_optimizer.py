"""Steps of the two optimizers worked by hand, and that Muon's matrices are the kernels themselves."""

import pytest
import torch
from torch import nn

import dqroute as dq
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


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_matrix_is_its_kernel_in_place(memory_format):
    kernel = torch.randn(4, 3, 2, 2).to(memory_format=memory_format)
    matrix = as_matrix(kernel)
    assert matrix.shape == (4, 12)
    before = kernel.clone()
    matrix.add_(1)
    assert torch.equal(kernel, before + 1)


def test_muon_changes_a_kernel_by_the_same_amount_in_every_direction():
    """Rate 0.1 at half its peak, no decay: the change has all its singular values near 0.05, the gradient's span a
    decade. Five Newton-Schulz iterations in bf16 come within a third of the orthogonal matrix."""
    model = network()
    kernel = model[0].weight
    before = kernel.detach().clone()
    updates = Updates(model, Settings(optimizer="muon", kernel_lr=0.1, kernel_decay=0))
    loss = loss_of(model)
    updates.step(loss, 0.5)
    change = torch.linalg.svdvals((kernel.detach() - before).flatten(1))
    gradient = torch.linalg.svdvals(kernel.grad.flatten(1))
    assert gradient.max() > 10 * gradient.min()
    assert change.max() < 0.05 * 1.34 and change[:-1].min() > 0.05 * 0.66


def test_muon_decays_a_kernel_by_rate_times_decay():
    """A kernel of which the loss knows nothing: after one step at rate 0.1 and decay 0.2 it is 0.98 of what it was."""
    model = network()
    updates = Updates(model, Settings(optimizer="muon", kernel_lr=0.1, kernel_decay=0.2))
    before = model[0].weight.detach().clone()
    updates.step(0 * loss_of(model), 1.0)
    assert torch.allclose(model[0].weight, 0.98 * before)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_all_but_kernels_take_steps_of_sgd(optimizer):
    """The first step with Nesterov momentum 0.9 is 1.9 times the decayed gradient: w ← w - r · 1.9 (g + λw)."""
    model = network()
    before = model[3].weight.detach().clone()
    updates = Updates(model, Settings(optimizer=optimizer, lr=0.2, weight_decay=0.01))
    updates.step(loss_of(model), 0.5)
    step = 0.1 * 1.9 * (model[3].weight.grad + 0.01 * before)
    assert torch.allclose(model[3].weight, before - step, atol=1e-6)


def test_momenta_go_from_one_training_to_the_next():
    """Two steps in one go, and with the weights and momenta handed over in between, are the same to the last bit."""
    settings = Settings(optimizer="muon")
    whole, first, second = network(), network(), network()
    updates = Updates(whole, settings)
    for _ in range(2):
        updates.step(loss_of(whole), 1.0)
    begun = Updates(first, settings)
    begun.step(loss_of(first), 1.0)
    second.load_state_dict(first.state_dict())
    resumed = Updates(second, settings)
    resumed.resume({name: held.clone() for name, held in begun.momenta().items()})
    resumed.step(loss_of(second), 1.0)
    assert begun.momenta().keys() == {name for name, _ in whole.named_parameters()}
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_prediction_sees_what_muon_did(tiny, runs_dir, quick):
    """Predictions come from a folded copy of the network, made anew when its weights have changed."""
    run = dq.fit("logit-adjustment", tiny, epochs=1, runs_dir=runs_dir, optimizer="muon", **quick)
    model = run.model
    before = model.predict(tiny.val).probabilities
    kernel = next(p for p in model.parameters() if p.ndim == 4)
    as_matrix(kernel.detach()).mul_(-1)
    assert not torch.equal(before, model.predict(tiny.val).probabilities)


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
        updates.step(model.loss(model(images), labels), 1.0)
        moved[factor] = {name: p.detach() - before[name] for name, p in model.named_parameters()}
    for name, whole in moved[1.0].items():
        share = 0.25 if name.startswith("network.trunk.") else 1.0
        assert whole.any(), name
        torch.testing.assert_close(moved[0.25][name], share * whole, atol=1e-6, rtol=1e-4)
