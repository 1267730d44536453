"""The shares of the rings in an unknown world, and predictions for there."""

import math

import pytest
import torch

from dqroute.measures.worlds import agreeing_weights, balanced_shares, reweighed, ring_shares, shares_in

RINGS = torch.tensor([0, 0, 1, 1, 2, 2])


def seen(images: int, share: list[float], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Calibrated log-probabilities for balanced classes, of images of a world; and their classes."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.multinomial(torch.tensor(share), images, replacement=True, generator=generator)
    # Unit Gaussians at the corners of a simplex: the logits are then exact.
    x = torch.randn(images, 6, generator=generator)
    x[torch.arange(images), classes] += 2.0
    return (2 * x).log_softmax(dim=1), classes


def test_shares_by_hand():
    # Of two rings told apart for sure, the shares are the counts, but for the one image that is added.
    log_p = torch.tensor([[0.0, -50.0]] * 30 + [[-50.0, 0.0]] * 10)
    found = ring_shares(log_p, torch.tensor([0.5, 0.5]), pseudo=1)
    assert found.share.tolist() == pytest.approx([30.5 / 41, 10.5 / 41], abs=1e-5)
    # And their error is the binomial one.
    assert found.error[0].item() == pytest.approx(math.sqrt(0.744 * 0.256 / 40), rel=0.03)


def test_probabilities_that_know_nothing_leave_the_shares_unsure():
    found = ring_shares(torch.tensor([[0.5, 0.5]]).log().expand(40, 2), torch.tensor([0.5, 0.5]))
    assert found.share.tolist() == pytest.approx([0.5, 0.5])
    assert not found.sure


def test_a_world_is_found_and_predicted_better():
    share = [0.02, 0.02, 0.06, 0.1, 0.3, 0.5]
    log_p, classes = seen(3000, share)
    found = shares_in(log_p, RINGS)
    assert found.share.tolist() == pytest.approx([0.04, 0.16, 0.8], abs=3 * found.error.max().item() + 0.01)
    assert found.sure
    adapted = reweighed(log_p, RINGS, found.share)
    torch.testing.assert_close(adapted.exp().sum(dim=1), torch.ones(3000))
    assert (adapted.argmax(dim=1) == classes).float().mean() > (log_p.argmax(dim=1) == classes).float().mean() + 0.02


def test_in_an_unchanged_world_next_to_nothing_changes():
    log_p, classes = seen(3000, [1 / 6] * 6)
    adapted = reweighed(log_p, RINGS, shares_in(log_p, RINGS).share)
    before, after = ((p.argmax(dim=1) == classes).float().mean() for p in (log_p, adapted))
    assert after > before - 0.01
    torch.testing.assert_close(reweighed(log_p, RINGS, balanced_shares(RINGS)), log_p)


def test_few_images_leave_it_unsure():
    few = shares_in(seen(6, [1 / 6] * 6)[0], RINGS)
    assert not few.sure
    # Four times as many images halve the error: of 0.2 to 0.1.
    told = few._replace(error=torch.tensor([0.2, 0.1001, 0.05])).doubt(60)
    assert "60 images tell the shares of the groups to ±20, ±11, ±5 points only" in told and "about 240 of them" in told


def test_a_ring_without_classes_is_no_trouble():
    rings = torch.tensor([0, 0, 0, 0, 2, 2])
    found = shares_in(seen(500, [1 / 6] * 6)[0], rings)
    assert found.share[1] == 0 and found.share.sum().item() == pytest.approx(1)
    assert torch.isfinite(reweighed(seen(5, [1 / 6] * 6)[0], rings, found.share)).all()


def test_rings_that_are_never_told_apart_leave_their_shares_unsure():
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(500, 1, generator=generator)
    p = torch.cat([first, (1 - first) / 2, (1 - first) / 2], dim=1)
    found = ring_shares(p.log(), torch.tensor([1 / 3] * 3))
    assert not found.sure and found.error.max() <= 1


def test_no_images_tell_nothing():
    with pytest.raises(ValueError, match="no images were given"):
        ring_shares(torch.empty(0, 3), torch.tensor([1 / 3] * 3))


def test_the_expert_that_is_sure_of_what_it_sees_is_believed():
    """One is sure and says the same of both views, one is unsure, one says something else each time."""
    generator = torch.Generator().manual_seed(0)
    truth = 8 * torch.nn.functional.one_hot(torch.arange(200) % 5, 5).float()
    noise = [torch.randn(200, 5, generator=generator) for _ in range(4)]
    one = torch.stack([truth + noise[0], noise[0], 4 * noise[1]])
    other = torch.stack([truth + noise[1], noise[2], 4 * noise[3]])
    weights = agreeing_weights(one, other)
    assert weights.sum().item() == pytest.approx(1) and weights.min() >= 0.05
    assert weights[0] > 0.6
    # With nothing to choose by all keep their say.
    alike = torch.zeros(3, 10, 5)
    torch.testing.assert_close(agreeing_weights(alike, alike), torch.full((3,), 1 / 3))
