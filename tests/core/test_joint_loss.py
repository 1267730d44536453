"""The joint loss in one module: worked by hand, finite in every number format, and at home in other people's loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dqroute.core import DETECTORS, FUSIONS, DetectorBank, DifficultyTracker, DQRouteLoss
from dqroute.core.difficulty import combine_weights, frequency_prior
from dqroute.core.long_tail import ShotGroups

COUNTS = torch.tensor([80, 16, 4])
GROUPS = ShotGroups((0,), (1,), (2,), "shots")


def case(seed=0, batch=6, scale=2.0):
    """Random logits of three experts that want a gradient, and labels of every class."""
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(3, batch, 3, generator=generator)).requires_grad_(), torch.arange(batch) % 3


def module(outsiders=1.0, class_weights=None, image_weights=None, tau=1.0, mu=1.0, detector="energy", **options):
    """The loss with energy detectors, and every weight 1 unless given."""
    fusion = {"fusion": "restricted"} if outsiders == 0 else {}
    given = {"outsiders": outsiders, "tau": tau, "detector_weight": mu, "detector": detector}
    loss = DQRouteLoss(COUNTS, GROUPS, **given | fusion | options)
    # The hand-worked cases count an outsider as a share of an own image, without the scale to a mean of 1.
    members = loss.detectors.members
    loss.focus.copy_(torch.where(members, 1.0, outsiders))
    loss.image_weights.copy_(torch.ones(3) if image_weights is None else image_weights)
    if class_weights is not None:
        loss.class_weights.copy_(class_weights)
    return loss


def joint(logits, labels, *args, **kwargs):
    return module(*args, **kwargs)(logits, labels)


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
    z, y = case()
    expected = torch.stack([F.cross_entropy(expert, y) for expert in z]).sum()
    torch.testing.assert_close(joint(z, y, tau=0.0, mu=0.0), expected)


def test_hard_experts_learn_nothing_outside_their_classes():
    z, y = case()
    loss = joint(z, y, 0.0, mu=0.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()
    assert (z.grad[1][:, 0] == 0).all() and (z.grad[2][:, :2] == 0).all()
    # Nor from images of other classes.
    assert (z.grad[1][y == 0] == 0).all()
    assert (z.grad[1][y != 0][:, 1:] != 0).all()


def test_hard_with_a_batch_of_outsiders_only_is_finite():
    z, _ = case(batch=2)
    loss = joint(z, torch.tensor([0, 0]), 0.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()


@given(st.integers(0, 300), st.sampled_from([0.0, 0.2, 1.0]), st.floats(0.01, 200))
def test_the_joint_loss_and_its_gradient_are_finite(seed, outsiders, scale):
    z, y = case(seed, scale=scale)
    loss = joint(z, y, outsiders)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()


def test_weights_scale_the_classification_terms_evenly():
    z, y = case()
    once, twice = (joint(z, y, class_weights=torch.full((3,), w), mu=0.0) for w in (1.0, 2.0))
    torch.testing.assert_close(2 * once, twice)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("detector", ["energy", "consensus", "max-softmax", "linear"])
def test_logits_of_any_type_under_autocast(dtype, detector):
    """At a scale of 10, where sums of exponentials leave the range of fp16."""
    torch.manual_seed(0)
    loss = DQRouteLoss(COUNTS, GROUPS, detector=detector, features=4)
    z, y = case(scale=10.0)
    z = z.detach().to(dtype).requires_grad_()
    features = torch.randn(3, 6, 4).to(dtype)
    with torch.autocast("cpu", torch.bfloat16 if dtype == torch.float32 else dtype):
        value = loss(z, y, features)
        fused = loss.fuse(z, features)
    value.backward()
    assert value.dtype == torch.float32 and torch.isfinite(value) and torch.isfinite(z.grad).all()
    torch.testing.assert_close(loss.eval()(z.detach().float(), y, features.float()), value.detach())
    assert fused.log_probability.dtype == torch.float32
    loss.end_epoch()
    assert torch.isfinite(loss.tracker.difficulty).all() and torch.isfinite(loss.class_weights).all()


def test_a_detector_that_is_very_wrong_still_learns():
    """Expert 3 holds class 0 for e^200 times as likely as its own class 2: out of what float32 can tell from 0."""
    z = torch.zeros(3, 1, 3)
    z[2, 0, 0] = 200.0
    z.requires_grad_()
    joint(z, torch.tensor([2]), mu=1.0, tau=0.0).backward()
    detectors = DetectorBank("energy", [(0, 1, 2), (1, 2), (2,)], 3)
    log_odds = detectors(z)
    assert log_odds[2].item() == pytest.approx(-200, rel=1e-5)
    (gradient,) = torch.autograd.grad(detectors.loss(log_odds, torch.tensor([2]), torch.ones(3)), z)
    torch.testing.assert_close(gradient[2], torch.tensor([[1.0, 0.0, -1.0]]))


def test_what_an_image_without_information_is_given():
    """Trained to the loss's minimum on images that look all alike: plain logits give each class a share ``∝ w̄_c``.

    Counts of 500, 50 and 5, equally hard, α = strength = ½: w̄ ∝ n^-¼, so .17, .30, .53. Where the prior follows, a
    third each.
    """
    counts, labels = torch.tensor([500, 50, 5]), torch.arange(3).repeat_interleave(torch.tensor([500, 50, 5]))
    shares = {}
    for follows in (False, True):
        loss = DQRouteLoss(counts, "thirds", experts=1, start=0.0, prior_follows=follows)
        loss.weigh(1.0)
        z = torch.zeros(3, requires_grad=True)
        optimizer = torch.optim.LBFGS([z], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

        def closure(loss=loss, z=z, optimizer=optimizer):
            optimizer.zero_grad()
            value = loss(z.expand(1, len(labels), 3), labels)
            value.backward()
            return value

        optimizer.step(closure)
        shares[follows] = z.detach().softmax(dim=0)
    weights = combine_weights(torch.ones(3), frequency_prior(counts), 0.5, 0.5)
    torch.testing.assert_close(shares[False], weights / weights.sum(), atol=2e-3, rtol=0)
    torch.testing.assert_close(shares[False], torch.tensor([0.168, 0.300, 0.532]), atol=5e-3, rtol=0)
    torch.testing.assert_close(shares[True], torch.full((3,), 1 / 3), atol=2e-3, rtol=0)


def test_it_counts_in_training_mode_alone_and_weighs_from_the_second_epoch_on():
    loss, tracker = module(), DifficultyTracker(3)
    z, y = case()
    loss.eval()(z, y)
    assert loss.tracker.image_count.sum() == 0
    loss.train()(z, y)
    tracker.observe(loss.fuse(z).log_probability, y)
    assert torch.equal(loss.tracker.entropy_sum, tracker.entropy_sum)
    assert torch.equal(loss.class_weights, torch.ones(3))
    loss.end_epoch()
    tracker.end_epoch()
    expected = combine_weights(tracker.weights, frequency_prior(COUNTS), 0.5, 0.5)
    torch.testing.assert_close(loss.class_weights, expected)


def test_the_weights_wait_for_their_share_of_the_training():
    loss = module(start=0.6)
    z, y = case()
    for epoch in range(5):
        loss(z, y)
        assert torch.equal(loss.class_weights, torch.ones(3)) == (epoch < 3), epoch
        loss.end_epoch(progress=(epoch + 1) / 5)


def test_its_state_dict_is_all_of_its_state():
    one, other = module(detector="max-softmax"), module(detector="max-softmax")
    z, y = case()
    for _ in range(3):
        one(z, y)
        one.end_epoch()
    other.load_state_dict(one.state_dict())
    for loss in (one, other):
        loss(z, y)
        loss.end_epoch()
    assert torch.equal(one.class_weights, other.class_weights) and torch.equal(one(z, y), other(z, y))


@pytest.mark.parametrize("counts", [[5], [3, 0, 2], [1.5, 2.5], [[1, 2], [3, 4]]])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(ValueError, match="counts are each class's training images"):
        DQRouteLoss(counts)


def test_logits_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[3 experts, batch, 3 classes\]; got \[6, 3\]"):
        module()(torch.zeros(6, 3), torch.zeros(6, dtype=torch.int64))


def test_a_detector_that_reads_features_says_what_it_lacks():
    with pytest.raises(ValueError, match="say how many with features="):
        DQRouteLoss(COUNTS, GROUPS, detector="linear")
    with pytest.raises(ValueError, match="pass features="):
        DQRouteLoss(COUNTS, GROUPS, detector="linear", features=4)(*case())


def test_every_detector_and_rule_by_its_name():
    assert set(DETECTORS) == {"energy", "consensus", "max-softmax", "linear"}
    for rule in FUSIONS:
        assert joint(*case(), fusion=rule).isfinite()


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("detector", DETECTORS)
def test_in_64_bits_it_computes_in_64_bits(fusion, detector):
    loss = DQRouteLoss(COUNTS, GROUPS, fusion=fusion, detector=detector, features=4)
    z, y = case()
    features = torch.randn(3, 6, 4, dtype=torch.float64)
    assert loss(z.double(), y, features).dtype == torch.float64
    assert loss.fuse(z.double(), features).log_probability.dtype == torch.float64
    loss.double()(z.double(), y, features)
    loss.end_epoch()


def test_what_is_none_of_its_kind_is_refused():
    with pytest.raises(ValueError, match="groups of 3 classes do not fit the counts of 4"):
        DQRouteLoss([9, 5, 3, 2], GROUPS)
    for options in ({"prior_follows": "no"}, {"experts": 2.5}, {"alpha": True}, {"smoothing": "0.5"}, {"gamma": 1e300}):
        with pytest.raises(ValueError, match=next(iter(options))):
            DQRouteLoss(COUNTS, GROUPS, **options)
    z, y = case()
    for labels in (y.int(), y[:3], y.float(), y[:, None]):
        with pytest.raises(ValueError, match="labels are int64"):
            module()(z, labels)
    with pytest.raises(ValueError, match="progress must lie between 0 and 1"):
        module().end_epoch(30)
    with pytest.raises(ValueError, match=r"logits are \[3 experts"):
        module().fuse(z[:2])
