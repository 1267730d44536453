"""Heads by fold: who judges an image never saw it, and all sets are trained as one."""

import pytest
import torch
from torch.nn import functional as F

from dqroute.models.heads import Heads

FOLD = torch.tensor([0, 1, 2, 0, 1, -1])
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
FEATURES = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))


def heads(**changes):
    torch.manual_seed(0)
    return Heads(**({"features": 5, "num_classes": 4, "experts": 2, "folds": 3} | changes))


@pytest.mark.parametrize("classifier", ["cosine", "linear"])
@pytest.mark.parametrize("gaussian", [False, True])
def test_the_last_set_predicts(classifier, gaussian):
    network = heads(classifier=classifier, gaussian=0.1 if gaussian else None)
    network.meet(FEATURES, LABELS, FOLD)
    outputs, every = network(FEATURES), network.of_sets(FEATURES)
    assert every.shape == (6, 4, 2 + gaussian, 4) and network.experts == 2 + gaussian
    torch.testing.assert_close(outputs.logits, every[:, -1].movedim(1, 0))
    assert outputs.features.shape == (2 + gaussian, 6, 5)


def test_cosine_logits_by_hand():
    network = heads(experts=1, folds=0)
    expected = 30 * F.cosine_similarity(FEATURES[:, None], network.weight.view(1, 4, 5), dim=2)
    torch.testing.assert_close(network(FEATURES).logits[0], expected)


def test_each_image_is_shown_to_every_set_but_its_folds():
    network = heads()
    rows, labels = network.rows(network.of_sets(FEATURES), FEATURES, LABELS, FOLD)
    # Five images to three of the four sets, and the one in no fold to all.
    assert rows.logits.shape == (2, 5 * 3 + 4, 4) and labels.bincount().tolist() == [6, 7, 3, 3]
    rows.logits.sum().backward()
    for fold in range(3):
        network.zero_grad()
        logits = network.of_sets(FEATURES)
        only = torch.where(fold == FOLD, 1.0, 0.0)
        said, _ = network.rows(logits * only[:, None, None, None], FEATURES, LABELS, FOLD)
        said.logits.sum().backward()
        moved = network.weight.grad.flatten(1).abs().sum(dim=1) > 0
        assert moved.tolist() == [k != fold for k in range(4)]


def test_out_of_fold_is_the_word_of_the_folds_own_set():
    network = heads()
    logits = network.of_sets(FEATURES)
    said = network.out_of_fold(logits, FOLD)
    for image, fold in enumerate(FOLD.tolist()):
        torch.testing.assert_close(said[:, image], logits[image, fold if fold >= 0 else 3])


def test_the_gaussian_expert_is_linear_discriminant_analysis():
    """On many images of two classes it separates as scikit-learn's, and each fold's own leaves its images out."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(200)
    x = F.normalize(torch.randn(600, 6, generator=generator) + 2 * F.one_hot(labels, 6), dim=1)
    fold = torch.arange(600) // 3 % 2
    network = Heads(6, 3, folds=2, gaussian=0.0)
    network.meet(x, labels, fold)
    logits = network.of_sets(x)[:, :, -1]
    for index, seen in enumerate((fold == 1, fold == 0, fold >= 0)):
        reference = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(x[seen], labels[seen])
        assert (logits[:, index].argmax(dim=1).numpy() == reference.predict(x)).mean() > 0.995


def test_at_a_ridge_of_one_the_gaussian_is_the_nearest_mean():
    network = Heads(5, 4, 0, folds=3, gaussian=1.0)
    network.meet(FEATURES, LABELS, FOLD)
    assert network.experts == 1 and network.trained == 0
    x = F.normalize(FEATURES, dim=1)
    means = torch.stack([x[c == LABELS].mean(dim=0) for c in range(4)])
    assert network(FEATURES).logits[0].argmax(dim=1).tolist() == torch.cdist(x, means).argmin(dim=1).tolist()


def test_a_class_of_one_image_and_flat_features_are_no_trouble_for_the_gaussian():
    network = heads(gaussian=0.1, folds=0)
    flat = FEATURES.clone()
    flat[:, 2] = 0
    network.meet(flat, LABELS, torch.full_like(LABELS, -1))
    assert torch.isfinite(network(flat).logits).all()
