"""The plain loop that the engine is measured against computes the same thing: equal inputs, losses and gradients."""

import itertools

import pytest
import torch
from reference import PilImages, normalisation, pixels_of, predicted_labels, training_steps
from torchvision import transforms

import dqroute as dq
from dqroute.core.long_tail import shot_groups
from dqroute.data import Augmentation, ImageSet, Split
from dqroute.methods.base import METHODS, Problem
from dqroute.training.loop import Training
from dqroute.training.settings import Settings

pytestmark = pytest.mark.weekly


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


@pytest.mark.parametrize("method", ["cross-entropy", "dqroute"])
def test_a_step_of_either_changes_the_weights_alike(photographs, method, tmp_path):
    """The engine's whole step, on a batch that it has augmented itself, beside the plain loop's on the same pixels.

    ResNet-8 in fp32; channels last, the fused optimizer and the engine's batches on one side only.
    """
    settings = {"optimizer": "sgd", "epochs": 1, "precision": "fp32", "device": "cpu", "progress": False}
    run = dq.fit(method, photographs, runs_dir=tmp_path, compile=False, **settings)
    training = Training(run, run.new_model(), photographs, Settings(**run.settings["training"]), torch.device("cpu"))
    ((images, labels),) = training.batches.epoch(seed=3)
    assert not torch.equal(images[:, :, 0, 0], photographs.train.images[:, :, 0, 0])
    plain = run.new_model().train()
    transform = transforms.Compose(normalisation(*pixels_of(plain)))
    seen = PilImages(Split(images.contiguous(), labels), transform)
    optimizer = torch.optim.SGD(
        plain.parameters(), 0.01, 0.9, weight_decay=training.settings.weight_decay, nesterov=True
    )
    training.model.train()
    for model in (training.model, plain):
        model.start_epoch(0.9)
    for _ in range(2):
        loss, _ = training.step(images, labels, share=0.1)
        outputs = plain.network(torch.stack([seen[i][0] for i in range(len(seen))]))
        expected = plain.loss(outputs, labels)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        plain.observe(outputs, labels)
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-4, atol=1e-5)
    trained = dict(training.model.named_parameters())
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(trained[name], parameter, rtol=1e-3, atol=1e-4, msg=name)


def test_both_predict_the_same_labels(photographs):
    model = model_for(photographs, "dqroute").eval()
    assert torch.equal(predicted_labels(model, photographs.test), model.predict(photographs.test.images).label)


def test_the_reference_trains(photographs):
    model = model_for(photographs, "cross-entropy")
    before = model.network.classifiers[0].weight.clone()
    training = {"batch_size": 5, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    assert list(itertools.islice(training_steps(model, photographs, training), 4)) == [5, 5, 2, 5]
    assert not torch.equal(before, model.network.classifiers[0].weight)
