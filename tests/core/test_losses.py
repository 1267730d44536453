"""Losses against numbers worked by hand, and the identities that tie them together."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dqroute.core import losses
from dqroute.core.detectors import DetectorBank
from dqroute.models.experts import ExpertOutputs

COUNTS = torch.tensor([80, 16, 4])
SETS = [(0, 1, 2), (1, 2), (2,)]


def case(seed=0, batch=6, scale=2.0, experts=None):
    """Random logits that want a gradient, and labels of every class."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 3) if experts is None else (experts, batch, 3)
    return (scale * torch.randn(shape, generator=generator)).requires_grad_(), torch.arange(batch) % 3


def joint(logits, labels, outsiders=1.0, class_weights=None, image_weights=None, tau=1.0, mu=1.0):
    """The DQRoute loss with energy detectors."""
    detectors = DetectorBank("energy", SETS, 3, 4, 4)
    outputs = ExpertOutputs(logits, torch.zeros(3, len(labels), 4), torch.zeros(len(labels), 4))
    ones = torch.ones(3)
    weights = ones if class_weights is None else class_weights
    images = ones if image_weights is None else image_weights
    focus = torch.where(detectors.members, 1.0, outsiders)
    priors = losses.expert_priors(losses.log_prior(COUNTS), focus)
    return losses.dqroute(outputs, labels, detectors, priors, focus, weights, images, tau, mu)


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
    """Two experts sure of different classes: their mean is ½ each, so each is ln 2 away. Agreeing: 0."""
    sure = torch.tensor([[[100.0, 0.0]], [[0.0, 100.0]]])
    assert losses.diversity(sure).item() == pytest.approx(2 * math.log(2), rel=1e-6)
    assert losses.diversity(sure[:1].expand(2, 1, 2)).item() == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 500), st.floats(0.1, 100), st.integers(1, 5))
def test_diversity_lies_between_zero_and_log_k_an_expert(seed, scale, experts):
    z, _ = case(seed, scale=scale, experts=experts)
    value = losses.diversity(z).item()
    assert -1e-5 <= value <= experts * math.log(experts) + 1e-5
    same = z[:1].expand(experts, -1, -1)
    assert losses.diversity(same).item() == pytest.approx(0, abs=1e-5)


def test_focus_by_hand():
    """80, 16 and 4 images, outsiders ¼. Expert 1: 1 throughout. Expert 2: ¼, 1, 1 come to (20 + 16 + 4) / 100 = 0.4 an
    image, so 0.625, 2.5, 2.5. Expert 3: ¼, ¼, 1 to 0.28, so 1/1.12, 1/1.12, 1/0.28."""
    members = DetectorBank("energy", SETS, 3, 4, 4).members
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


def test_dqroute_soft_by_hand():
    """Zero logits, all three experts alike; label 2, class weight 2, image weight 3, μ = ½.

    Each of three experts: -ln 0.04 · 2. Detectors: S_2 has 2 of 3 classes, σ = 2/3, own: -ln(2/3) · 3; S_3 has one,
    σ = 1/3, own: -ln(1/3) · 3.
    """
    loss = joint(
        torch.zeros(3, 1, 3),
        torch.tensor([2]),
        class_weights=torch.tensor([1.0, 1, 2]),
        image_weights=torch.tensor([1.0, 1, 3]),
        mu=0.5,
    )
    expected = 3 * -2 * math.log(0.04) + 0.5 * 3 * (math.log(3 / 2) + math.log(3))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_dqroute_hard_by_hand():
    """Zero logits, labels 0 and 2, μ = 0, divided by the whole batch of 2.

    Expert 1: -ln 0.8 and -ln 0.04. Expert 2, classes 1 and 2: label 2 alone, -ln(0.04 / 0.20). Expert 3: -ln 1 = 0.
    """
    loss = joint(torch.zeros(3, 2, 3), torch.tensor([0, 2]), 0.0, mu=0.0)
    expected = -(math.log(0.8) + math.log(0.04)) / 2 - math.log(0.2) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_dqroute_between_by_hand():
    """Zero logits, labels 0 and 2, outsiders ½, μ = 0. Priors 80:16:4; for expert 2 40:16:4; for expert 3 40:8:4.

    Expert 1: -ln 80/100 and -ln 4/100. Expert 2: ½ · -ln 40/60 and -ln 4/60. Expert 3: ½ · -ln 40/52 and -ln 4/52.
    """
    loss = joint(torch.zeros(3, 2, 3), torch.tensor([0, 2]), 0.5, mu=0.0)
    outsider = math.log(80 / 100) + 0.5 * math.log(40 / 60) + 0.5 * math.log(40 / 52)
    own = math.log(4 / 100) + math.log(4 / 60) + math.log(4 / 52)
    assert loss.item() == pytest.approx(-(outsider + own) / 2, rel=1e-5)


def test_soft_without_prior_weights_and_detectors_is_the_sum_of_cross_entropies():
    z, y = case(experts=3)
    expected = torch.stack([F.cross_entropy(expert, y) for expert in z]).sum()
    torch.testing.assert_close(joint(z, y, tau=0.0, mu=0.0), expected)


def test_hard_experts_learn_nothing_outside_their_classes():
    z, y = case(experts=3)
    loss = joint(z, y, 0.0, mu=0.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()
    assert (z.grad[1][:, 0] == 0).all() and (z.grad[2][:, :2] == 0).all()
    # Nor from images of other classes.
    assert (z.grad[1][y == 0] == 0).all()
    assert (z.grad[1][y != 0][:, 1:] != 0).all()


def test_hard_with_a_batch_of_outsiders_only_is_finite():
    z, _ = case(experts=3, batch=2)
    loss = joint(z, torch.tensor([0, 0]), 0.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()


@given(st.integers(0, 300), st.sampled_from([0.0, 0.2, 1.0]), st.floats(0.01, 200))
def test_the_joint_loss_and_its_gradient_are_finite(seed, outsiders, scale):
    z, y = case(seed, scale=scale, experts=3)
    loss = joint(z, y, outsiders)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()


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


def test_weights_scale_the_classification_terms_evenly():
    z, y = case(experts=3)
    once, twice = (joint(z, y, class_weights=torch.full((3,), w), mu=0.0) for w in (1.0, 2.0))
    torch.testing.assert_close(2 * once, twice)
