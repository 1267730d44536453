"""Difficulty, its update, the frequency prior and their combination, against numbers worked by hand."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.testing import assert_close as assert_close_and_same_type

from dqroute.core.difficulty import (
    DifficultyTracker,
    class_difficulty,
    combine_weights,
    frequency_prior,
    update_difficulty_weights,
)

# The difficulty weights are float64, what they are compared with here is not.
assert_close = partial(assert_close_and_same_type, check_dtype=False)
shares = st.floats(0, 1, width=32)
positive = st.floats(0.0009765625, 1, width=32)


def vectors(elements, size=4):
    return arrays("float32", size, elements=elements).map(torch.from_numpy)


def normalised(weights):
    return weights / weights.sum()


def test_difficulty_worked_by_hand():
    """Class 0: 0.5/2 + 2·(1 - 0.8/0.8) = 0.25. Class 1: 2/2 + 2·(1 - 0.4/0.8) = 2. Class 2: 0 + 2·(1 - 0) = 2."""
    d = class_difficulty(torch.tensor([0.5, 2.0, 0.0]), torch.tensor([0.8, 0.4, 0.0]), lam=2.0)
    torch.testing.assert_close(d, torch.tensor([0.25, 2.0, 2.0]))


def test_difficulty_where_the_maxima_are_zero_divides_by_nothing():
    """No class undecided: the first term is 0. No class ever right: A_c / A_max counts as 0, so the second is λ."""
    d = class_difficulty(torch.zeros(3), torch.zeros(3), lam=0.5)
    torch.testing.assert_close(d, torch.full((3,), 0.5))


@given(vectors(st.floats(0, 5, width=32)), vectors(shares), st.floats(0, 3))
def test_difficulty_lies_between_0_and_1_plus_lambda(entropy, accuracy, lam):
    d = class_difficulty(entropy, accuracy, lam)
    assert (d >= 0).all() and (d <= (1 + lam) * (1 + 1e-6)).all()


def test_update_worked_by_hand():
    """w = (0.2, 0.8), d = (1, 0), γ = ln 2: 0.2·2 : 0.8·1 = 0.4 : 0.8 = 1/3 : 2/3."""
    w = update_difficulty_weights(torch.tensor([0.2, 0.8]), torch.tensor([1.0, 0.0]), math.log(2), memory=1)
    assert_close(w, torch.tensor([1 / 3, 2 / 3]))


def test_update_with_half_a_memory_worked_by_hand():
    """w = (0.2, 0.8), ρ = ½: the roots are 1 : 2, d = (1, 0), γ = ln 4 gives 4 : 2 = 2/3 : 1/3."""
    w = update_difficulty_weights(torch.tensor([0.2, 0.8]), torch.tensor([1.0, 0.0]), math.log(4), memory=0.5)
    assert_close(w, torch.tensor([2 / 3, 1 / 3]))


def test_update_without_memory_forgets():
    d = torch.tensor([0.3, 1.0, 0.0])
    a = update_difficulty_weights(torch.tensor([0.98, 0.01, 0.01]), d, 2.0, memory=0)
    b = update_difficulty_weights(torch.full((3,), 1 / 3), d, 2.0, memory=0)
    torch.testing.assert_close(a, b)


def test_the_published_update_collapses_onto_the_hardest_class():
    """After T epochs at one difficulty, w_c ∝ exp(γ T d_c): with d = (1, 0.9), T = 60, γ = 1 the ratio is e^6 = 403."""
    w, d = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.9])
    for _ in range(60):
        w = update_difficulty_weights(w, d, gamma=1.0, memory=1)
    assert (w[0] / w[1]).item() == pytest.approx(math.exp(6), rel=1e-3)


@given(st.lists(vectors(st.floats(0, 2, width=32)), min_size=1, max_size=30), st.floats(0, 2), st.floats(0, 0.9))
def test_with_a_leak_the_weights_never_spread_further_than_the_bound(difficulties, gamma, memory):
    """log w_i - log w_j = Σ_t ρ^(T-t) γ (d_i - d_j), at most γ / (1 - ρ) times the largest spread of a difficulty."""
    w = torch.full((4,), 0.25)
    for d in difficulties:
        w = update_difficulty_weights(w, d, gamma, memory)
    spread = max((d.max() - d.min()).item() for d in difficulties)
    assert (w.log().max() - w.log().min()).item() <= gamma / (1 - memory) * spread + 1e-4
    assert w.sum().item() == pytest.approx(1, abs=1e-5)


@given(vectors(positive), vectors(st.floats(0, 2, width=32)), st.floats(0, 3), shares)
def test_the_update_keeps_a_distribution_and_favours_the_harder(weights, d, gamma, memory):
    w = update_difficulty_weights(normalised(weights), d, gamma, memory)
    assert (w > 0).all() and w.sum().item() == pytest.approx(1, abs=1e-5)
    uniform = update_difficulty_weights(torch.full((4,), 0.25), d, gamma, memory)
    assert uniform[d.argmax()] >= uniform.max() * (1 - 1e-6)


def test_the_published_update_recovers_from_a_long_bias():
    """150 epochs at d = (0, 1), then 150 at (1, 0): Σ d is equal, so the weights must be ½ and ½ again."""
    w = torch.tensor([0.5, 0.5])
    for d in [torch.tensor([0.0, 1.0])] * 150 + [torch.tensor([1.0, 0.0])] * 150:
        w = update_difficulty_weights(w, d, gamma=1.0, memory=1)
    assert_close(w, torch.tensor([0.5, 0.5]), atol=1e-3, rtol=0)


def test_by_frequency_alone_a_collapsed_difficulty_does_no_harm():
    w = torch.tensor([0.5, 0.5])
    for _ in range(150):
        w = update_difficulty_weights(w, torch.tensor([0.0, 1.0]), gamma=1.0, memory=1)
    torch.testing.assert_close(combine_weights(w, torch.tensor([0.25, 0.75]), alpha=0), torch.tensor([0.5, 1.5]))


def test_frequency_prior_worked_by_hand():
    """Counts 1, 2, 4. Inverse: 1 : ½ : ¼ = 4/7, 2/7, 1/7.

    Effective with β = ½: (1 - ½) / (1 - ½^n) = ½/½, ½/¾, ½/(15/16) = 1, 2/3, 8/15; the sum is 33/15.
    """
    counts = torch.tensor([1, 2, 4])
    torch.testing.assert_close(frequency_prior(counts), torch.tensor([4 / 7, 2 / 7, 1 / 7]))
    by_hand = torch.tensor([15 / 33, 10 / 33, 8 / 33])
    torch.testing.assert_close(frequency_prior(counts, "effective", beta=0.5), by_hand)


def test_effective_number_runs_from_uniform_to_inverse():
    """β = 0: every class has an effective number of 1. β → 1: the effective number is the number."""
    counts = torch.tensor([3, 30, 300])
    torch.testing.assert_close(frequency_prior(counts, "effective", beta=0.0), torch.full((3,), 1 / 3))
    near_one = frequency_prior(counts, "effective", beta=1 - 1e-9)
    torch.testing.assert_close(near_one, frequency_prior(counts, "inverse"), rtol=1e-4, atol=0)


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=20), st.sampled_from(["inverse", "effective"]))
def test_a_prior_sums_to_one_and_rises_with_rarity(counts, kind):
    counts = torch.tensor(sorted(counts))
    prior = frequency_prior(counts, kind)
    assert prior.sum().item() == pytest.approx(1, abs=1e-5)
    assert (prior.diff() <= 1e-9).all()


@pytest.mark.parametrize("beta", [1.0, -0.1, float("nan")])
def test_beta_out_of_range_is_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        frequency_prior(torch.tensor([1, 2]), "effective", beta=beta)


def test_an_unknown_prior_lists_the_valid_ones():
    with pytest.raises(ValueError, match="inverse, effective"):
        frequency_prior(torch.tensor([1, 2]), "inverted")


def test_combination_worked_by_hand():
    """w = (0.2, 0.8), f = (0.9, 0.1), α = ½, s = 1: √0.18 : √0.08 = 3 : 2, with mean 1 (1.2, 0.8).

    At s = 2 the ratio is squared, 9 : 4 = (18/13, 8/13).
    """
    w, f = torch.tensor([0.2, 0.8]), torch.tensor([0.9, 0.1])
    torch.testing.assert_close(combine_weights(w, f, alpha=0.5), torch.tensor([1.2, 0.8]))
    torch.testing.assert_close(combine_weights(w, f, alpha=0.5, strength=2), torch.tensor([18 / 13, 8 / 13]))


@given(vectors(positive), vectors(positive))
def test_the_dial_ends_at_frequency_alone_and_at_difficulty_alone(weights, prior):
    w, f = normalised(weights), normalised(prior)
    torch.testing.assert_close(combine_weights(w, f, alpha=0), 4 * f, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(combine_weights(w, f, alpha=1), 4 * w, rtol=1e-4, atol=1e-6)


@given(vectors(positive), vectors(positive), shares, st.floats(0, 2))
def test_class_weights_are_positive_with_mean_one(weights, prior, alpha, strength):
    combined = combine_weights(normalised(weights), normalised(prior), alpha, strength)
    assert (combined > 0).all()
    assert combined.mean().item() == pytest.approx(1, abs=1e-5)


@given(vectors(positive), vectors(positive), shares)
def test_strength_zero_makes_all_weights_one(weights, prior, alpha):
    torch.testing.assert_close(combine_weights(normalised(weights), normalised(prior), alpha, 0.0), torch.ones(4))


def one_hot_logits(labels, classes, sureness=200.0):
    return torch.nn.functional.one_hot(torch.tensor(labels), classes).float() * sureness


def test_tracker_over_two_epochs_by_hand():
    """Three classes, λ = 1, γ = 1, smoothing ½, ρ = 1.

    Epoch 1. Class 0: one sure and right, one undecided between all three (the tie goes to class 0, right):
    H = ln 3 / 2, A = 1. Class 1: sure and wrong, H = 0, A = 0. Class 2: no image, H = A = 0 as before.
    d = (1 + 0, 0 + 1, 0 + 1) = (1, 1, 1), so the weights stay 1/3.
    Epoch 2. Class 0: sure and wrong: H = 0, A = ½·1 + ½·0 = ½. Class 1: no image, H = 0, A = 0 kept.
    Class 2: seen first, sure and right: H = 0, A = 1 (no smoothing with the empty start).
    H_max = 0. d = (1 - ½, 1 - 0, 1 - 1) = (½, 1, 0), w ∝ (e^½, e, 1).
    """
    tracker = DifficultyTracker(3, lam=1, gamma=1, smoothing=0.5, memory=1)
    tracker.observe(one_hot_logits([0], 3).log_softmax(1), torch.tensor([0]))
    tracker.observe(torch.cat([torch.zeros(1, 3), one_hot_logits([2], 3)]).log_softmax(1), torch.tensor([0, 1]))
    tracker.end_epoch()
    torch.testing.assert_close(tracker.entropy, torch.tensor([math.log(3) / 2, 0, 0]), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(tracker.accuracy, torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(tracker.difficulty, torch.ones(3))
    assert_close(tracker.weights, torch.full((3,), 1 / 3))

    tracker.observe(one_hot_logits([1, 2], 3).log_softmax(1), torch.tensor([0, 2]))
    tracker.end_epoch()
    torch.testing.assert_close(tracker.accuracy, torch.tensor([0.5, 0, 1]))
    torch.testing.assert_close(tracker.difficulty, torch.tensor([0.5, 1, 0]))
    expected = normalised(torch.tensor([math.exp(0.5), math.e, 1]))
    assert_close(tracker.weights, expected)


def test_a_class_unseen_in_an_epoch_keeps_its_entropy_and_accuracy():
    tracker = DifficultyTracker(2, smoothing=0.5)
    tracker.observe(torch.tensor([[1.0, 0.0], [0.0, 3.0]]).log_softmax(1), torch.tensor([0, 1]))
    tracker.end_epoch()
    entropy, accuracy = tracker.entropy.clone(), tracker.accuracy.clone()
    tracker.observe(torch.tensor([[0.0, 1.0]]).log_softmax(1), torch.tensor([0]))
    tracker.end_epoch()
    assert tracker.entropy[1] == entropy[1] and tracker.accuracy[1] == accuracy[1] == 1
    assert tracker.accuracy[0] == 0.5 * accuracy[0]


def test_how_images_fall_into_batches_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    log_p, labels = torch.randn(12, 3, generator=generator).log_softmax(1), torch.arange(12) % 3
    whole, parts = DifficultyTracker(3), DifficultyTracker(3)
    whole.observe(log_p, labels)
    for part in torch.arange(12).split(5):
        parts.observe(log_p[part], labels[part])
    whole.end_epoch()
    parts.end_epoch()
    assert_close(whole.weights, parts.weights)
    torch.testing.assert_close(whole.difficulty, parts.difficulty)


def test_a_tracker_resumes_from_its_state_dict():
    torch.manual_seed(0)
    first = DifficultyTracker(3)
    first.observe(torch.randn(9, 3).log_softmax(1), torch.arange(9) % 3)
    first.end_epoch()
    second = DifficultyTracker(3)
    second.load_state_dict(first.state_dict())
    log_p = torch.randn(9, 3).log_softmax(1)
    for tracker in (first, second):
        tracker.observe(log_p, torch.arange(9) % 3)
        tracker.end_epoch()
    assert torch.equal(first.weights, second.weights)


@pytest.mark.parametrize("change", [{"lam": -1}, {"gamma": -0.1}, {"memory": 1.1}, {"memory": -1}, {"smoothing": 1.0}])
def test_tracker_refuses_what_is_out_of_range_and_names_it(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        DifficultyTracker(3, **change)
