"""Detectors: one sign for all, a log-odds where it can be worked by hand, and gradients that reach the network."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqroute.core.detectors import DETECTORS, DetectorBank
from dqroute.core.outputs import ExpertOutputs
from dqroute.models.experts import ExpertNetwork

SETS = [(0, 1, 2, 3), (2, 3), (3,)]


def outputs_for(logits, features=6):
    """Network outputs with given logits ``[K, B, C]`` and random features."""
    generator = torch.Generator().manual_seed(0)
    experts, batch, _ = logits.shape
    return ExpertOutputs(
        logits,
        torch.randn(experts, batch, features, generator=generator),
    )


def bank(kind="energy", sets=SETS):
    torch.manual_seed(0)
    return DetectorBank(kind, sets, 4, features=6)


@given(st.integers(0, 1000))
def test_energy_is_the_log_odds_of_the_experts_softmax(seed):
    logits = 3 * torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(seed))
    log_odds = bank()(*outputs_for(logits))
    probability = logits.softmax(dim=2)
    for k in (1, 2):
        own = probability[k][:, list(SETS[k])].sum(dim=1)
        torch.testing.assert_close(log_odds[k].sigmoid(), own, atol=1e-5, rtol=1e-4)


def test_energy_worked_by_hand():
    """Logits ln(1, 2, 3, 6). S_2 = {2, 3}: ln(9/3) = ln 3. S_3 = {3}: ln(6/6) = 0."""
    logits = torch.tensor([1.0, 2, 3, 6]).log().expand(3, 1, 4)
    log_odds = bank()(*outputs_for(logits))
    torch.testing.assert_close(log_odds[:, 0], torch.tensor([torch.inf, math.log(3), 0]), atol=1e-6, rtol=1e-6)


def test_maximum_softmax_worked_by_hand():
    """Probabilities 1/12, 2/12, 3/12, 6/12: S_2's largest is ½, log-odds 0; S_3's too. Without class 3, ¼: -ln 3."""
    logits = torch.tensor([1.0, 2, 3, 6]).log().expand(3, 1, 4)
    log_odds = bank("max-softmax", [(0, 1, 2, 3), (2, 3), (2,)])(*outputs_for(logits))
    torch.testing.assert_close(log_odds[1:, 0], torch.tensor([0.0, -math.log(3)]), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["energy", "max-softmax"])
def test_positive_means_mine(kind):
    """Expert 2 is all but sure of class 2, one of its own, then of class 0, an outsider."""
    logits = torch.zeros(3, 2, 4)
    logits[:, 0, 2] = logits[:, 1, 0] = 8.0
    log_odds = bank(kind)(*outputs_for(logits))[1]
    assert log_odds[0] > 2 and log_odds[1] < -2


@pytest.mark.parametrize("kind", DETECTORS)
def test_every_kind_gives_one_finite_number_an_image(kind):
    for scale in (1, 1000):
        log_odds = bank(kind)(*outputs_for(scale * torch.randn(3, 5, 4)))
        assert log_odds.shape == (3, 5)
        assert torch.isinf(log_odds[0]).all() and (log_odds[0] > 0).all()
        assert torch.isfinite(log_odds[1:]).all()


@pytest.mark.parametrize("kind", DETECTORS)
def test_an_expert_of_all_classes_has_no_detector(kind):
    detectors = bank(kind)
    assert set(detectors.detectors) == {"1", "2"}
    assert detectors.members.tolist() == [[True] * 4, [False, False, True, True], [False, False, False, True]]


def test_without_any_detector_the_loss_is_zero():
    detectors = bank(sets=[(0, 1, 2, 3)])
    log_odds = detectors(*outputs_for(torch.randn(1, 5, 4)))
    assert detectors.loss(log_odds, torch.tensor([0, 1, 2, 3, 0]), torch.ones(4)).item() == 0


def test_loss_worked_by_hand():
    """Labels 0 and 3 with weights ½ and 2; expert 2 says ln 3 (¾) twice, expert 3 says 0 (½) twice.

    Expert 2: label 0 is an outsider, -½ ln ¼ = ½ ln 4; label 3 is its own, -2 ln ¾. Mean: (½ ln 4 + 2 ln 4/3) / 2.
    Expert 3: (½ ln 2 + 2 ln 2) / 2. The loss is the sum of the two.
    """
    log_odds = torch.tensor([[torch.inf] * 2, [math.log(3)] * 2, [0.0] * 2])
    loss = bank().loss(log_odds, torch.tensor([0, 3]), torch.tensor([0.5, 1, 1, 2]))
    second = (0.5 * math.log(4) + 2 * math.log(4 / 3)) / 2
    third = 2.5 * math.log(2) / 2
    assert loss.item() == pytest.approx(second + third, rel=1e-6)


ENERGIES = ("energy", "consensus")


@pytest.mark.parametrize("kind", ENERGIES)
def test_energies_learn_nothing_of_their_own(kind):
    """They are the experts' softmax; training them trains the experts."""
    assert list(bank(kind).parameters()) == []


def test_the_consensus_is_the_energy_of_the_mean():
    """Logits of ln 2, ln 8 and 0 for class 3, else 0: their mean is ln 16 / 3; where the second says 0, ln 2 / 3."""
    z = torch.zeros(3, 2, 4)
    z[0, :, 3], z[1, 0, 3] = math.log(2), math.log(8)
    expected = torch.tensor([math.log(16), math.log(2)]) / 3 - math.log(3)
    torch.testing.assert_close(bank("consensus")(*outputs_for(z))[2], expected)


def test_the_consensus_is_learned_by_each_expert_from_its_own_logits():
    z = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    learned = bank("consensus").learns(outputs_for(z), z.unbind())
    torch.testing.assert_close(learned, bank("energy")(*outputs_for(z)))
    learned[1].sum().backward()
    assert z.grad is not None and (z.grad[[0, 2]] == 0).all() and (z.grad[1] != 0).any()


@given(st.integers(0, 100))
def test_the_consensus_never_finds_a_smaller_set_more_likely(seed):
    z = 3 * torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(seed))
    log_odds = bank("consensus")(*outputs_for(z))
    assert (log_odds[:-1] >= log_odds[1:]).all()


@pytest.mark.parametrize("kind", [kind for kind in DETECTORS if list(bank(kind).parameters())])
def test_a_step_down_the_loss_makes_the_detector_surer(kind):
    torch.manual_seed(0)
    detectors, outputs, labels = bank(kind), outputs_for(torch.randn(3, 16, 4)), torch.arange(16) % 4
    optimizer = torch.optim.SGD(detectors.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        loss = detectors.loss(detectors(*outputs), labels, torch.ones(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", DETECTORS)
def test_the_detectors_gradient_reaches_the_shared_trunk(kind):
    torch.manual_seed(0)
    network = ExpertNetwork("resnet8", 4, channels=1, experts=3)
    detectors = DetectorBank(kind, SETS, 4, network.features)
    outputs = network(torch.randn(8, 1, 8, 8))
    detectors.loss(detectors(*outputs), torch.arange(8) % 4, torch.ones(4)).backward()
    stem = next(network.trunk.parameters())
    assert stem.grad is not None and torch.isfinite(stem.grad).all() and stem.grad.abs().sum() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detectors.parameters())


def test_an_unknown_detector_lists_the_valid_ones():
    with pytest.raises(ValueError, match=", ".join(DETECTORS)):
        bank("energetic")
