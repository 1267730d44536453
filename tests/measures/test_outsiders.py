"""Scores of strangeness against hand-worked values and direct computation."""

import pytest
import torch
from torch.nn import functional as F

from dqroute.measures.outsiders import RIDGE, Typical, class_gaussians, energy, seen_by_other_folds, share_as_strange


@pytest.fixture
def drawn():
    """30 to 3 images of four classes in eight dimensions, of one skewed covariance."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(torch.tensor([30, 15, 6, 3]))
    skew = torch.linspace(0.2, 1.5, 8).diag() + 0.1
    return 3 * torch.eye(8)[labels] + torch.randn(len(labels), 8, generator=random) @ skew, labels


def test_the_share_that_is_as_strange_by_hand():
    """Weights 1/6 three times, and 1/2; the new image counts as one of five."""
    own, labels = torch.tensor([3.0, 1.0, 4.0, 2.0]), torch.tensor([0, 0, 1, 0])
    shares = share_as_strange(torch.tensor([2.5, 5.0, 0.0, 4.0]), own, labels)
    # Beyond 4, the strangest, by 1 of the 3 that lie between it and the least strange.
    assert shares.tolist() == pytest.approx([(4 * 2 / 3 + 1) / 5, 3 / 4 / 5, 1, (4 / 2 + 1) / 5])


def test_pictures_stranger_than_all_keep_their_order():
    own, labels = torch.tensor([3.0, 1.0, 4.0, 2.0]), torch.tensor([0, 0, 1, 0])
    shares = share_as_strange(torch.tensor([4.0, 4.1, 10.0, 1e6]), own, labels)
    assert (shares.diff() < 0).all() and (shares[1:] < 1 / 5).all() and (shares > 0).all()


def test_distance_is_that_to_the_nearest_mean_whatever_the_length(drawn):
    features, labels = drawn
    x = F.normalize(features.double(), dim=1)
    means, covariance = class_gaussians(x, labels, 4, RIDGE)
    assert means[3].tolist() == pytest.approx(x[labels == 3].mean(dim=0).tolist())
    apart = x[:, None] - means
    direct = torch.einsum("ncd,de,nce->nc", apart, covariance.inverse(), apart).amin(dim=1)
    typical = Typical.of(features, labels, 4)
    torch.testing.assert_close(typical.distance(features).double(), direct, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(typical.distance(5 * features), typical.distance(features), rtol=1e-4, atol=1e-4)


def test_the_covariance_is_pooled_within_classes_and_drawn_to_a_sphere():
    x, labels = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0], [5.0, 5.0]]).double(), torch.tensor([0, 0, 1, 1])
    _, covariance = class_gaussians(x, labels, 2, 0.5)
    # Scatter 2 along the first axis, of four images less two classes: variance 1, and 1/2 on average.
    assert covariance.flatten().tolist() == pytest.approx([0.5 + 0.25, 0, 0, 0.25], abs=1e-5)


def test_out_of_fold_images_are_stranger_than_those_that_were_seen(drawn):
    features, labels = drawn
    fold = torch.arange(len(labels)) % 3
    fold[0] = -1
    found, likeness = seen_by_other_folds(lambda seen: features, labels, 4, fold)
    assert found.isnan().tolist() == (fold < 0).tolist()
    assert found[1:].mean() > 1.1 * Typical.of(features, labels, 4).distance(features)[1:].mean()
    seen = fold != 2
    alone = Typical.of(features[seen], labels[seen], 4).distance(features[~seen])
    torch.testing.assert_close(found[~seen], alone)
    x = F.normalize(features, dim=1)
    torch.testing.assert_close(likeness[~seen], (x[~seen] @ x[seen].T).amax(dim=1))
    asked = []
    again, _ = seen_by_other_folds(lambda seen: (asked.append(seen), features)[1], labels, 4, fold)
    assert torch.equal(again[1:], found[1:])
    assert [seen.tolist() for seen in asked] == [(fold != index).tolist() for index in range(3)]
    narrow, same = seen_by_other_folds(lambda seen: features, labels, 4, fold, width=3)
    expected, _ = seen_by_other_folds(lambda seen: features[:, :3], labels, 4, fold)
    assert torch.equal(narrow[1:], expected[1:]) and torch.equal(same[1:], likeness[1:])


def test_energy_by_hand():
    assert energy(torch.tensor([[0.0, 0.0], [3.0, -90.0]])).tolist() == pytest.approx([-0.6931, -3.0], abs=1e-4)
