"""Fusion by rings: the plain mean before it is fitted, who is right after."""

import pytest
import torch

from dqroute.core.long_tail import nested_class_sets, shot_groups
from dqroute.core.rings import RingFusion, ring_of

COUNTS = torch.tensor([200, 150, 80, 40, 10, 5])
MEMBERS = torch.zeros(3, 6, dtype=torch.bool)
for index, classes in enumerate(nested_class_sets(shot_groups(COUNTS), COUNTS, 3)):
    MEMBERS[index, list(classes)] = True


def world(images: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of three experts, each right about its own ring and no more than guessing elsewhere; and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(6).repeat(images)
    logits = torch.randn(3, len(labels), 6, generator=generator)
    for k in range(3):
        own = (ring_of(MEMBERS)[labels] == k).nonzero().flatten()
        logits[k, own, labels[own]] += 3
    return logits, labels


def test_rings_are_the_sets_without_the_next():
    assert ring_of(MEMBERS).tolist() == [0, 0, 1, 1, 2, 2]


def test_unfitted_it_is_the_plain_mean():
    logits, _ = world(4)
    fusion = RingFusion(MEMBERS, 3)(logits)
    torch.testing.assert_close(fusion.log_probability, logits.mean(dim=0).log_softmax(dim=1))
    torch.testing.assert_close(fusion.expert_weights, torch.full((24, 3), 1 / 3))


def test_fitted_it_listens_to_who_is_right():
    logits, labels = world(100)
    rings = RingFusion(MEMBERS, 3)
    rings.fit(logits, labels)
    fresh, truth = world(200, seed=1)
    fused, mean = rings(fresh), RingFusion(MEMBERS, 3)(fresh)
    right = (fused.log_probability.argmax(dim=1) == truth).float().mean()
    assert right > (mean.log_probability.argmax(dim=1) == truth).float().mean() + 0.03
    for k in range(3):
        assert rings.within[k].argmax() == k
    torch.testing.assert_close(fused.expert_weights.sum(dim=1), torch.ones(1200))
    torch.testing.assert_close(fused.log_probability.exp().sum(dim=1), torch.ones(1200))


def test_the_log_odds_are_those_of_the_rings():
    logits, labels = world(50)
    rings = RingFusion(MEMBERS, 4)
    further = torch.cat([logits, logits.mean(dim=0, keepdim=True)])
    rings.fit(further, labels)
    p, said = rings.log_rings(further).exp(), rings.log_odds(further)
    assert said[0].isposinf().all() and said[3].isposinf().all()
    torch.testing.assert_close(said[1].sigmoid(), p[:, 1] + p[:, 2])
    torch.testing.assert_close(said[2].sigmoid(), p[:, 2])


def test_a_class_that_nobody_judged_takes_no_more_of_others_images_than_its_ring_does():
    """Its logits are high of every image, as those of a class of one image may be: nobody's images told of it."""
    logits, labels = world(60)
    logits[:, :, 5] += 4
    rings, judged = RingFusion(MEMBERS, 3), labels != 5
    rings.fit(logits[:, judged], labels[judged])
    p, truth = rings(logits[:, judged]).log_probability.exp(), labels[judged]
    wrongly = torch.stack([p[truth == c].mean(dim=0) for c in range(5)])
    assert wrongly[:, 5].mean() == pytest.approx(wrongly[:4, 4].mean().item(), rel=0.02)
    assert rings.held[:5].tolist() == [0] * 5 and rings.held[5] < -2
    # An image of its own it is given still.
    assert (rings(logits[:, ~judged]).log_probability.argmax(dim=1) == 5).float().mean() > 0.5


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_logits_of_any_kind(kind):
    logits, labels = world(20)
    rings = RingFusion(MEMBERS, 3)
    rings.fit(logits.to(kind), labels)
    assert torch.isfinite(rings(logits.to(kind)).log_probability).all()


def test_a_ring_without_classes_is_no_trouble():
    members = MEMBERS.clone()
    members[1] = True  # no class has many images: the second set is the first
    logits, labels = world(40)
    rings = RingFusion(members, 3)
    rings.fit(logits, labels)
    fused = rings(logits)
    assert torch.isfinite(fused.log_probability).all() and torch.isfinite(fused.expert_weights).all()
    assert (fused.log_probability.argmax(dim=1) == labels).float().mean() > 0.5


def test_classes_that_nobody_may_judge_are_not_fitted_away():
    logits, labels = world(60)
    rings = RingFusion(MEMBERS, 3)
    judged = labels < 4  # nothing of the rarest ring
    rings.fit(logits[:, judged], labels[judged])
    fresh, truth = world(60, seed=3)
    rare = truth >= 4
    before, after = (fusion(fresh).log_probability.argmax(dim=1) for fusion in (RingFusion(MEMBERS, 3), rings))
    assert (after == truth)[rare].float().mean() > 0.6 * (before == truth)[rare].float().mean()


def test_fewer_images_are_trusted_less():
    """Fitted to some images it strays less from the plain mean than fitted to thirty times as many alike."""
    logits, labels = world(3)
    strayed = []
    for times in (1, 30):
        rings = RingFusion(MEMBERS, 3)
        rings.fit(logits.repeat(1, times, 1), labels.repeat(times))
        strayed.append((rings.within - 1 / 3).square().sum())
    assert strayed[0] < 0.9 * strayed[1]


def test_fitted_again_it_forgets_what_it_was_fitted_to_before():
    logits, labels = world(50)
    again, fresh = RingFusion(MEMBERS, 3), RingFusion(MEMBERS, 3)
    again.fit(logits, labels)
    known = labels != 1  # of class 1 nobody says anything the second time
    for rings in (again, fresh):
        rings.fit(logits[:, known], labels[known])
    torch.testing.assert_close(again.shifts, fresh.shifts)
    torch.testing.assert_close(again.within, fresh.within)
    torch.testing.assert_close(again.held, fresh.held)
