"""The plain loop that the engine is measured against computes the same thing: equal inputs, losses and gradients."""

import itertools

import pytest
import torch
from reference import PilImages, normalisation, pixels_of, predicted_labels, training_steps
from torchvision import transforms

from dqroute.data import Augmentation, ImageSet, Split
from dqroute.long_tail import shot_groups
from dqroute.method import METHODS, Problem


@pytest.fixture
def photographs() -> ImageSet:
    """Twelve images in colour, of six classes."""
    images = torch.randint(256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(12) % 6)
    groups = shot_groups([2] * 6, "thirds")
    return ImageSet("noise", split, split, tuple("abcdef"), groups, Augmentation(2, True), {"name": "noise"})


def model_for(data: ImageSet, method: str):
    torch.manual_seed(0)
    return METHODS[method](Problem(data.counts, data.groups, 3, (120.0, 125.0, 130.0), (60.0, 65.0, 70.0)))


@pytest.mark.parametrize("method", ["cross-entropy", "dqroute"])
def test_the_same_batch_gives_the_same_loss_and_gradient(photographs, method):
    model = model_for(photographs, method).train()
    plain = PilImages(photographs.train, transforms.Compose(normalisation(*pixels_of(model))))
    batch = torch.stack([plain[i][0] for i in range(len(plain))])
    labels = photographs.train.labels

    def loss_and_gradient(outputs):
        model.zero_grad()
        loss = model.loss(outputs, labels)
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])

    reference, engine = loss_and_gradient(model.network(batch)), loss_and_gradient(model(photographs.train.images))
    assert reference[0] == pytest.approx(engine[0], rel=1e-5)
    torch.testing.assert_close(reference[1], engine[1], rtol=1e-3, atol=1e-5)


def test_both_predict_the_same_labels(photographs):
    model = model_for(photographs, "dqroute").eval()
    assert torch.equal(predicted_labels(model, photographs.test), model.predict(photographs.test.images).label)


def test_the_reference_trains(photographs):
    model = model_for(photographs, "cross-entropy")
    before = model.network.classifiers[0].weight.clone()
    training = {"batch_size": 5, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    assert list(itertools.islice(training_steps(model, photographs, training), 4)) == [5, 5, 2, 5]
    assert not torch.equal(before, model.network.classifiers[0].weight)
