"""Fusion rules: worked by hand, and as distributions whatever the experts and detectors say."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dqroute.core.routing import FUSIONS, confidence_weights, fuse

INF = math.inf
MEMBERS = torch.tensor([[True] * 4, [False, False, True, True], [False, False, False, True]])
ROUTED = ["logits", "probabilities", "restricted"]

logits = arrays("float32", (3, 5, 4), elements=st.floats(-60, 60, width=32)).map(torch.from_numpy)
detected = arrays(
    "float32", (2, 5), elements=st.one_of(st.floats(-200, 200, width=32), st.sampled_from([INF, 0.0]))
).map(torch.from_numpy)
temperatures = st.floats(0.05, 50)


def log_odds_of(rows):
    """Expert 1's +inf above the detectors' own log-odds."""
    return torch.cat([torch.full((1, rows.shape[1]), INF), rows])


def random_case(batch=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(3, batch, 4, generator=generator)
    return z, log_odds_of(2 * torch.randn(2, batch, generator=generator))


def test_confidences_worked_by_hand():
    """σ(+inf) = 1, σ(0) = ½, σ(-ln 3) = ¼: the sum is 7/4, the weights 4/7, 2/7, 1/7."""
    weights = confidence_weights(torch.tensor([[INF], [0.0], [-math.log(3)]]), temperature=1)
    torch.testing.assert_close(weights, torch.tensor([[4 / 7, 2 / 7, 1 / 7]]))


def test_temperature_worked_by_hand():
    """s = 2 ln 3 at T = 2: σ(ln 3) = ¾, the weights 4/7 and 3/7."""
    weights = confidence_weights(torch.tensor([[INF], [2 * math.log(3)]]), temperature=2)
    torch.testing.assert_close(weights, torch.tensor([[4 / 7, 3 / 7]]))


def test_the_limits_of_temperature():
    """T → ∞: the experts with detectors have ½ each, the first 1: (½, ¼, ¼). T → 0: who says no is dropped."""
    log_odds = torch.tensor([[INF], [3.0], [-2.0]])
    torch.testing.assert_close(confidence_weights(log_odds, 1e9), torch.tensor([[0.5, 0.25, 0.25]]))
    torch.testing.assert_close(confidence_weights(log_odds, 1e-9), torch.tensor([[0.5, 0.5, 0.0]]))


def test_all_rules_worked_by_hand():
    """Two experts, two classes, S_2 = {1}; z_1 = ln(3, 1), z_2 = ln(1, 4); s_2 = 0, so the weights are 2/3 and 1/3.

    mean: √(3·1) : √(1·4) = √3 : 2.
    logits: 3^⅔·1^⅓ : 1^⅔·4^⅓ = 9^⅓ : 4^⅓.
    probabilities: ⅔(¾, ¼) + ⅓(1/5, 4/5) = (17/30, 13/30).
    restricted: expert 2 has class 1 alone, ⅔(¾, ¼) + ⅓(0, 1) = (½, ½).
    bayes: expert 2's inside and outside become ½ and ½, so √(¾·½) : √(¼·½) = √3 : 1.
    nested: the detector gives half to each class, and each expert has one class to itself; the weights are ½ and ½.
    """
    z = torch.tensor([[[3.0, 1.0]], [[1.0, 4.0]]]).log()
    members = torch.tensor([[True, True], [False, True]])
    log_odds = torch.tensor([[INF], [0.0]])
    root = math.sqrt(3)
    expected = {
        "mean": [root / (root + 2), 2 / (root + 2)],
        "logits": [9 ** (1 / 3) / (9 ** (1 / 3) + 4 ** (1 / 3)), 4 ** (1 / 3) / (9 ** (1 / 3) + 4 ** (1 / 3))],
        "probabilities": [17 / 30, 13 / 30],
        "restricted": [0.5, 0.5],
        "bayes": [root / (root + 1), 1 / (root + 1)],
        "nested": [0.5, 0.5],
    }
    assert set(expected) == set(FUSIONS)
    for rule, probability in expected.items():
        fusion = fuse(rule, z, log_odds, members)
        torch.testing.assert_close(fusion.log_probability.exp(), torch.tensor([probability]), msg=rule)
        weights = [0.5, 0.5] if rule in ("mean", "bayes", "nested") else [2 / 3, 1 / 3]
        torch.testing.assert_close(fusion.expert_weights, torch.tensor([weights]), msg=rule)


@pytest.mark.parametrize("rule", FUSIONS)
@settings(max_examples=50)
@given(logits, detected, temperatures)
def test_every_rule_gives_a_distribution_over_classes_and_one_over_experts(rule, z, rows, temperature):
    fusion = fuse(rule, z, log_odds_of(rows), MEMBERS, temperature)
    assert fusion.log_probability.shape == (5, 4) and fusion.expert_weights.shape == (5, 3)
    assert not fusion.log_probability.isnan().any()
    torch.testing.assert_close(fusion.log_probability.logsumexp(dim=1), torch.zeros(5), atol=1e-5, rtol=0)
    assert (fusion.expert_weights >= 0).all()
    torch.testing.assert_close(fusion.expert_weights.sum(dim=1), torch.ones(5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rule", FUSIONS)
def test_no_probability_exceeds_one(rule):
    """A log-probability above 0 is none."""
    z = torch.zeros(3, 200, 4)
    z[:, :, 3] = 60.0
    log_odds = log_odds_of(3 * torch.randn(2, 200, generator=torch.Generator().manual_seed(0)))
    assert (fuse(rule, z, log_odds, MEMBERS).log_probability <= 0).all()


@pytest.mark.parametrize("rule", FUSIONS)
@settings(max_examples=25)
@given(logits, detected, temperatures, st.permutations(range(5)))
def test_an_image_is_fused_alike_wherever_it_stands_in_the_batch(rule, z, rows, temperature, order):
    there = fuse(rule, z, log_odds_of(rows), MEMBERS, temperature)
    moved = fuse(rule, z[:, order], log_odds_of(rows)[:, order], MEMBERS, temperature)
    torch.testing.assert_close(moved.log_probability, there.log_probability[list(order)], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(moved.expert_weights, there.expert_weights[list(order)])


@pytest.mark.parametrize("rule", FUSIONS)
@settings(max_examples=25)
@given(logits, temperatures)
def test_one_expert_is_its_own_softmax(rule, z, temperature):
    fusion = fuse(rule, z[:1], torch.full((1, 5), INF), MEMBERS[:1], temperature)
    torch.testing.assert_close(fusion.log_probability, z[0].log_softmax(dim=1), atol=1e-4, rtol=1e-5)
    assert torch.equal(fusion.expert_weights, torch.ones(5, 1))


def test_the_mean_rule_is_the_plain_mean_whatever_the_detectors_say():
    z, log_odds = random_case()
    fusion = fuse("mean", z, log_odds, MEMBERS)
    torch.testing.assert_close(fusion.log_probability, z.mean(dim=0).log_softmax(dim=1))
    assert torch.equal(fusion.expert_weights, torch.full((5, 3), 1 / 3))


@pytest.mark.parametrize("rule", ["logits", "probabilities", "restricted"])
def test_an_expert_whose_detector_says_no_has_no_say(rule):
    z, log_odds = random_case()
    log_odds[1:] = -200.0
    fusion = fuse(rule, z, log_odds, MEMBERS)
    torch.testing.assert_close(fusion.log_probability, z[0].log_softmax(dim=1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rule", ROUTED)
def test_sure_detectors_give_every_expert_the_same_weight(rule):
    z, _ = random_case()
    fusion = fuse(rule, z, torch.full((3, 5), INF), MEMBERS)
    torch.testing.assert_close(fusion.expert_weights, torch.full((5, 3), 1 / 3))


def test_restricted_experts_say_nothing_of_other_classes():
    """Class 0 is expert 1's alone: its probability is expert 1's, times expert 1's weight."""
    z, log_odds = random_case()
    fusion = fuse("restricted", z, log_odds, MEMBERS)
    expected = fusion.expert_weights[:, 0] * z[0].softmax(dim=1)[:, 0]
    torch.testing.assert_close(fusion.log_probability[:, 0].exp(), expected)


def test_bayes_with_the_experts_own_odds_is_the_mean_of_log_probabilities():
    """If each detector says what its expert's softmax says already, the chain rule gives the softmax back."""
    z, log_odds = random_case()
    for k in (1, 2):
        own = z[k].softmax(dim=1)[:, MEMBERS[k]].sum(dim=1)
        log_odds[k] = own.logit()
    fusion = fuse("bayes", z, log_odds, MEMBERS)
    expected = z.log_softmax(dim=2).mean(dim=0).log_softmax(dim=1)
    torch.testing.assert_close(fusion.log_probability, expected, atol=1e-5, rtol=1e-5)


def test_nested_worked_by_hand():
    """σ(s_2) = ½, σ(s_3) = ⅛: the rings {0, 1}, {2}, {3} have ½, ⅜, ⅛. Expert 1 holds class 0 three times as likely as
    class 1, so ½ becomes ⅜ and ⅛; what it says of classes 2 and 3, and the others of class 0, does not matter."""
    z = torch.tensor([[[3.0, 1.0, 9.0, 7.0]], [[5.0, 1.0, 2.0, 8.0]], [[4.0, 4.0, 4.0, 1.0]]]).log()
    fusion = fuse("nested", z, torch.tensor([[INF], [0.0], [-math.log(7)]]), MEMBERS)
    torch.testing.assert_close(fusion.log_probability.exp(), torch.tensor([[3 / 8, 1 / 8, 3 / 8, 1 / 8]]))
    torch.testing.assert_close(fusion.expert_weights, torch.tensor([[1 / 2, 3 / 8, 1 / 8]]))


def test_nested_detectors_that_contradict_each_other_leave_a_ring_next_to_nothing():
    """Expert 3's own classes are more likely than those of expert 2, which include them: nothing is left to ring 2."""
    z, log_odds = random_case()
    log_odds[1], log_odds[2] = -1.0, 1.0
    fusion = fuse("nested", z, log_odds, MEMBERS)
    assert (fusion.expert_weights[:, 1] < 1e-6).all() and torch.isfinite(fusion.log_probability).all()


def test_nested_experts_of_one_opinion_give_it_back():
    """If all experts say the same and the detectors say what its softmax says, the chain rule gives the softmax."""
    z, log_odds = random_case()
    z[:] = z[0]
    for k in (1, 2):
        log_odds[k] = z[0].softmax(dim=1)[:, MEMBERS[k]].sum(dim=1).logit()
    fusion = fuse("nested", z, log_odds, MEMBERS)
    torch.testing.assert_close(fusion.log_probability, z[0].log_softmax(dim=1), atol=1e-5, rtol=1e-5)


def test_nested_with_an_empty_ring_worked_by_hand():
    """S_2 = S_3 = {3}: no class is of ring 2 alone. Rings {0, 1, 2} and {3} have ⅞ and ⅛; expert 2 has no say."""
    members = torch.tensor([[True] * 4, [False, False, False, True], [False, False, False, True]])
    z = torch.tensor([[[2.0, 4.0, 1.0, 9.0]], [[9.0, 9.0, 9.0, 9.0]], [[1.0, 1.0, 1.0, 1.0]]]).log()
    fusion = fuse("nested", z, torch.tensor([[INF], [-math.log(7)], [-math.log(7)]]), members)
    torch.testing.assert_close(fusion.log_probability.exp(), torch.tensor([[2 / 8, 4 / 8, 1 / 8, 1 / 8]]))
    torch.testing.assert_close(fusion.expert_weights, torch.tensor([[7 / 8, 0, 1 / 8]]))


def test_an_expert_with_no_class_to_itself_has_no_weight_though_its_detector_is_sure():
    """S_2 = S_3 and detectors that contradict each other: what they say beyond S_3's is nobody's."""
    members = torch.tensor([[True] * 4, [False, False, False, True], [False, False, False, True]])
    z, log_odds = random_case()
    log_odds[1], log_odds[2] = 2.0, -2.0
    assert (fuse("nested", z, log_odds, members).expert_weights[:, 1] == 0).all()


def test_nested_where_an_expert_was_skipped_the_next_larger_one_answers_worked_by_hand():
    """Expert 2 is skipped for one image: there expert 1 answers for classes 0, 1 and 2 as 2 : 4 : 1 of ⅞. For the other
    image it ran, and class 2 has the ⅜ of its ring."""
    z = torch.tensor([[2.0, 4.0, 1.0, 9.0], [0.1, 0.1, 0.1, 0.1], [1.0, 1.0, 1.0, 1.0]]).log()
    log_odds = torch.tensor([[INF, INF], [-INF, 0.0], [-math.log(7)] * 2])
    fusion = fuse("nested", z[:, None].expand(3, 2, 4), log_odds, MEMBERS)
    expected = torch.tensor([[2 / 8, 4 / 8, 1 / 8, 1 / 8], [1 / 6, 2 / 6, 3 / 8, 1 / 8]])
    torch.testing.assert_close(fusion.log_probability.exp(), expected)
    torch.testing.assert_close(fusion.expert_weights, torch.tensor([[7 / 8, 0, 1 / 8], [1 / 2, 3 / 8, 1 / 8]]))


@pytest.mark.parametrize("rule", ["probabilities", "restricted", "bayes", "nested"])
def test_a_detector_that_says_mine_raises_its_classes(rule):
    """Expert 3 has class 3 alone and its detector's log-odds is raised from -3 to 3; the others stay."""
    z, log_odds = random_case()
    z[2, :, 3] = 10.0
    low, high = log_odds.clone(), log_odds.clone()
    low[2], high[2] = -3.0, 3.0
    a, b = (fuse(rule, z, s, MEMBERS).log_probability[:, 3] for s in (low, high))
    assert (b > a).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, INF])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must (lie|be a number) at 1e-09 or above, and be finite"):
        fuse("logits", *random_case(), MEMBERS, temperature)


def test_an_unknown_rule_lists_the_valid_ones():
    with pytest.raises(ValueError, match=", ".join(FUSIONS)):
        fuse("median", *random_case(), MEMBERS)


@pytest.mark.parametrize("rule", FUSIONS)
def test_a_skipped_expert_has_no_say(rule):
    """Its log-odds are -inf; whatever stands in its logits, the others decide alone."""
    z, log_odds = random_case()
    log_odds[2] = -INF
    z[2] = 0
    fused, others = fuse(rule, z, log_odds, MEMBERS), fuse(rule, z[:2], log_odds[:2], MEMBERS[:2])
    torch.testing.assert_close(fused.log_probability, others.log_probability)
    torch.testing.assert_close(fused.expert_weights[:, :2], others.expert_weights)
    assert (fused.expert_weights[:, 2] == 0).all()


@pytest.mark.parametrize("rule", FUSIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_rule_alone_takes_16_bit_logits_also_under_autocast(rule, dtype):
    z, log_odds = random_case()
    low = (10 * z).to(dtype)
    expected = FUSIONS[rule](low.float(), log_odds, MEMBERS)
    with torch.autocast("cpu", dtype):
        fusion = FUSIONS[rule](low, log_odds, MEMBERS)
    assert fusion.log_probability.dtype == torch.float32
    torch.testing.assert_close(fusion.log_probability, expected.log_probability)
    torch.testing.assert_close(fusion.expert_weights, expected.expert_weights)
