"""Losses against numbers worked by hand, and the identities that tie them together."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dqroute.core import losses
from dqroute.core.detectors import DetectorBank

COUNTS = torch.tensor([80, 16, 4])
SETS = [(0, 1, 2), (1, 2), (2,)]


def case(seed=0, batch=6, scale=2.0, experts=None):
    """Random logits that want a gradient, and labels of every class."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 3) if experts is None else (experts, batch, 3)
    return (scale * torch.randn(shape, generator=generator)).requires_grad_(), torch.arange(batch) % 3


def test_log_prior_by_hand():
    torch.testing.assert_close(losses.log_prior(COUNTS), torch.tensor([0.8, 0.16, 0.04]).log())


def test_logit_adjustment_by_hand():
    """Zero logits, π = (0.8, 0.16, 0.04): the adjusted softmax is π itself. Label 2 costs -ln 0.04, label 0 -ln 0.8."""
    log_pi = losses.log_prior(COUNTS)
    zeros = torch.zeros(2, 3)
    labels = torch.tensor([2, 0])
    plain = losses.logit_adjusted(zeros, labels, log_pi)
    assert plain.item() == pytest.approx(-(math.log(0.04) + math.log(0.8)) / 2, rel=1e-5)
    weighted = losses.logit_adjusted(zeros, labels, log_pi, class_weights=torch.tensor([3.0, 1, 5]))
    assert weighted.item() == pytest.approx(-(5 * math.log(0.04) + 3 * math.log(0.8)) / 2, rel=1e-5)


@given(st.integers(0, 500))
def test_without_a_prior_logit_adjustment_is_cross_entropy(seed):
    z, y = case(seed)
    torch.testing.assert_close(losses.logit_adjusted(z, y, losses.log_prior(COUNTS), tau=0), F.cross_entropy(z, y))
    torch.testing.assert_close(losses.logit_adjusted(z, y, losses.log_prior(torch.ones(3))), F.cross_entropy(z, y))


def test_margins_by_hand():
    """n^(-¼) for 1, 16, 256 is 1, ½, ¼; the largest is set to 0.6: 0.6, 0.3, 0.15."""
    margins = losses.ldam_margins(torch.tensor([256, 16, 1]), 0.6)
    torch.testing.assert_close(margins, torch.tensor([0.15, 0.3, 0.6]))


def test_ldam_by_hand():
    """Logits (ln 4, 0, 0), label 0, margin on it ln 2 at scale 1: 2 : 1 : 1, so the loss is ln 2."""
    z = torch.tensor([[math.log(4), 0.0, 0.0]])
    loss = losses.ldam(z, torch.tensor([0]), torch.tensor([math.log(2), 9.0, 9.0]), scale=1.0)
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)


def test_weighted_ldam_divides_by_the_weights():
    """Losses of the two images at zero logits and margins: ln 3 each, whatever their weights."""
    loss = losses.ldam(torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(3), 30.0, torch.tensor([1.0, 7, 1]))
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)


@given(st.integers(0, 500))
def test_ldam_without_margins_is_cross_entropy_and_margins_cost(seed):
    z, y = case(seed)
    torch.testing.assert_close(losses.ldam(z, y, torch.zeros(3), 30.0), F.cross_entropy(z, y))
    assert losses.ldam(z, y, torch.tensor([0.1, 0.2, 0.5]), 30.0) > F.cross_entropy(z, y)


def test_geometric_mean_by_hand():
    """Two images of class 0, found at .5 and .25, one of class 1, found at .8, none of class 2: -½ log(.375 · .8)."""
    p = torch.tensor([[0.5, 0.3, 0.2], [0.25, 0.5, 0.25], [0.1, 0.8, 0.1]])
    labels, prior = torch.tensor([0, 0, 1]), torch.tensor([0.5, 0.25, 0.25]).log()
    logits = (p.log() - prior).requires_grad_()
    loss = losses.geometric_mean(logits, labels, prior)
    assert loss.item() == pytest.approx(-0.5 * math.log(0.375 * 0.8))
    assert losses.geometric_mean(p.log(), labels, prior, tau=0.0).item() == pytest.approx(loss.item())
    loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_inverse_softmax_by_hand():
    """π = (0.8, 0.16, 0.04), upside down (0.04, 0.16, 0.8). At τ = 1 and zero logits π/π̄ = 20 : 1 : 1/20."""
    log_pi = losses.log_prior(COUNTS)
    loss = losses.inverse_softmax(torch.zeros(1, 3), torch.tensor([2]), log_pi, tau=1.0)
    assert loss.item() == pytest.approx(math.log(21.05 / 0.05), rel=1e-5)


@given(st.integers(0, 500))
def test_inverse_softmax_reverses_by_rank_wherever_the_classes_stand(seed):
    """Permuting the classes permutes the inverse prior with them."""
    z, y = case(seed)
    order = torch.randperm(3, generator=torch.Generator().manual_seed(seed))
    log_pi = losses.log_prior(COUNTS)
    expected = losses.inverse_softmax(z, y, log_pi)
    moved = losses.inverse_softmax(z[:, order], order.argsort()[y], log_pi[order])
    torch.testing.assert_close(moved, expected)


def test_inverse_softmax_without_tau_is_logit_adjustment():
    z, y = case()
    log_pi = losses.log_prior(COUNTS)
    torch.testing.assert_close(losses.inverse_softmax(z, y, log_pi, tau=0), losses.logit_adjusted(z, y, log_pi))


def test_diversity_by_hand():
    """Logits 2 ln 3 and 0, and 0 and 0: the mean is ln 3 and 0, so ¾ and ¼; the experts have 9/10, 1/10 and ½, ½.

    KL(p̄ || p_1) = ¾ ln(¾ / 0.9) + ¼ ln(¼ / 0.1), KL(p̄ || p_2) = ¾ ln 1.5 + ¼ ln ½.
    """
    z = torch.tensor([[[2 * math.log(3), 0.0]], [[0.0, 0.0]]])
    first = 0.75 * math.log(0.75 / 0.9) + 0.25 * math.log(2.5)
    second = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert losses.diversity(z).item() == pytest.approx(first + second, rel=1e-5)


@given(st.integers(0, 500), st.floats(0.1, 100), st.integers(1, 5))
def test_diversity_is_never_negative_and_zero_among_equals(seed, scale, experts):
    z, _ = case(seed, scale=scale, experts=experts)
    assert losses.diversity(z).item() >= -1e-5
    assert losses.diversity(z[:1].expand(experts, -1, -1)).item() == pytest.approx(0, abs=1e-4)


def test_diversity_moves_the_experts_and_not_their_mean():
    """The mean is held fixed, so the gradient is the sum of the experts' own: softmax(z_k) - p̄ for each."""
    z, _ = case(experts=3)
    losses.diversity(z).backward()
    expected = (z.softmax(dim=2) - z.mean(dim=0).softmax(dim=1)) / z.shape[1]
    torch.testing.assert_close(z.grad, expected.detach())


def test_focus_by_hand():
    """80, 16 and 4 images, outsiders ¼. Expert 1: 1 throughout. Expert 2: ¼, 1, 1 come to (20 + 16 + 4) / 100 = 0.4 an
    image, so 0.625, 2.5, 2.5. Expert 3: ¼, ¼, 1 to 0.28, so 1/1.12, 1/1.12, 1/0.28."""
    members = DetectorBank("energy", SETS, 3).members
    focus = losses.expert_focus(COUNTS, members, 0.25)
    expected = torch.tensor([[1.0, 1, 1], [0.625, 2.5, 2.5], [1 / 1.12, 1 / 1.12, 1 / 0.28]])
    torch.testing.assert_close(focus, expected)
    torch.testing.assert_close(focus @ COUNTS.float() / 100, torch.ones(3))
    literal = losses.expert_focus(COUNTS, members, 0.0)
    assert (literal[~members] == 0).all() and (literal[members] > 0).all()


def test_rarity_focus_by_hand():
    """Counts 80, 16, 4; q = ½ has them count as 1/√80, ¼, ½: together √80 + 4 + 2, 100 images, a mean of 1."""
    expected = 100 / (80**0.5 + 6) * torch.tensor([80**-0.5, 0.25, 0.5])
    torch.testing.assert_close(losses.rarity_focus(COUNTS, 0.5), expected)
    torch.testing.assert_close(losses.rarity_focus(COUNTS, 0.0), torch.ones(3))
    torch.testing.assert_close(losses.rarity_focus(COUNTS, 1.0), 100 / 3 / COUNTS)


def test_expert_priors_by_hand():
    """80, 16, 4 with ½, 1, 1 are 40, 16, 4 of 60; with 0, 1, 1 the first class is left out."""
    log_pi = losses.log_prior(COUNTS)
    priors = losses.expert_priors(log_pi, torch.tensor([[0.5, 1.0, 1.0], [0.0, 3.0, 3.0]]))
    torch.testing.assert_close(priors[0].exp(), torch.tensor([40, 16, 4]) / 60)
    torch.testing.assert_close(priors[1].exp(), torch.tensor([0, 0.8, 0.2]))


@pytest.mark.parametrize("scale", [1.0, 200.0])
@pytest.mark.parametrize("name", ["logit_adjusted", "inverse_softmax", "ldam", "diversity"])
def test_gradients_of_the_baselines_losses_are_finite(name, scale):
    z, y = case(scale=scale, experts=2 if name == "diversity" else None)
    log_pi = losses.log_prior(COUNTS)
    loss = {
        "logit_adjusted": lambda: losses.logit_adjusted(z, y, log_pi),
        "inverse_softmax": lambda: losses.inverse_softmax(z, y, log_pi),
        "ldam": lambda: losses.ldam(z, y, losses.ldam_margins(COUNTS), 30.0),
        "diversity": lambda: losses.diversity(z),
    }[name]()
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_16_bit_logits_are_those_of_the_same_numbers_in_32(dtype):
    """Also where a class's probability has left the range of 16 bits."""
    z, y = case(scale=10.0)
    low = z.detach().to(dtype).requires_grad_()
    log_pi = losses.log_prior(COUNTS)
    for loss in (
        lambda logits: losses.logit_adjusted(logits, y, log_pi),
        lambda logits: losses.inverse_softmax(logits, y, log_pi),
        lambda logits: losses.ldam(logits, y, losses.ldam_margins(COUNTS), 30.0),
        lambda logits: losses.diversity(
            logits.expand(2, -1, -1) * torch.tensor([1.0, 0.5], dtype=dtype)[:, None, None]
        ),
    ):
        found = loss(low)
        assert found.dtype == torch.float32
        found.backward()
        assert torch.isfinite(low.grad).all()
    torch.testing.assert_close(losses.logit_adjusted(low, y, log_pi), losses.logit_adjusted(low.float(), y, log_pi))
