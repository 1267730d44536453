"""What every method shares: prediction, dense and sparse, and the registry."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

import dqroute as dq
from dqroute.methods.base import METHODS, Method, method_options, register


def build(name, problem, **options):
    torch.manual_seed(0)
    return METHODS[name](problem, **options)


def test_predicting_in_batches_or_one_by_one_is_the_same(problem, tiny):
    model = build("dqroute", problem)
    whole = model.predict(tiny.test.images[:7])
    parts = model.predict(tiny.test.images[:7], batch_size=3)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_predicting_leaves_the_model_as_it_was(problem, tiny):
    model = build("dqroute", problem).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.predict(tiny.test.images[:7])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_predictions_follow_the_weights(problem, tiny):
    model, images = build("cross-entropy", problem), tiny.test.images[:7]
    before = model.predict(images).probabilities
    assert torch.equal(model.predict(images).probabilities, before)
    with torch.no_grad():
        model.network.classifiers[0].weight.mul_(2)
    assert not torch.equal(model.predict(images).probabilities, before)
    model.precision = "bf16"
    assert {p.dtype for p in model.network_for_prediction().trunk.parameters()} == {torch.bfloat16}


def test_predicting_nothing_gives_nothing(problem, tiny):
    p = build("dqroute", problem).predict(tiny.test.images[:0])
    assert p.probabilities.shape == (0, 10) and p.label.shape == (0,)


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8).byte()]
)
def test_predict_says_what_images_it_takes(problem, images):
    with pytest.raises(ValueError, match=r"uint8 images \[N, 1, height, width\]; got"):
        build("cross-entropy", problem).predict(images)


def test_pixels_are_normalised_by_the_training_sets_numbers(problem):
    """(170 - 80) / 90 = 1, (80 - 80) / 90 = 0."""
    images = torch.tensor([170, 80], dtype=torch.uint8).view(1, 1, 1, 2)
    assert build("cross-entropy", problem).normalise(images).flatten().tolist() == pytest.approx([1, 0])


def test_an_unknown_method_lists_the_valid_ones():
    with pytest.raises(
        ValueError, match=r"unknown method 'dq-route' \(did you mean 'dqroute'\?\).*" + ", ".join(METHODS)
    ):
        method_options("dq-route")


def test_prediction_asks_for_the_size_that_was_trained_on(problem, batch):
    images, _ = batch
    height, width = images.shape[2:]
    model = build("cross-entropy", dataclasses.replace(problem, size=(height, width)))
    assert len(model.predict(images).label) == len(images)
    with pytest.raises(ValueError, match=f"trained on {height}x{width} images"):
        model.predict(images[:, :, :-1])


def test_a_registered_method_can_be_fitted_opened_and_evaluated(registry, tiny, runs_dir, quick):
    @register("focal")
    class Focal(Method):
        """Focal loss.

        More is said here.
        """

        def __init__(self, problem, *, focus: float = 2.0):
            super().__init__(problem)
            self.focus = focus

        def loss(self, outputs, labels):
            log_p = -F.cross_entropy(outputs.logits[0], labels, reduction="none")
            return -((1 - log_p.exp()) ** self.focus * log_p).mean()

    assert Focal.summary == "Focal loss."
    assert method_options("focal") == {"focus": 2.0}
    run = dq.fit("focal", tiny, epochs=1, focus=1.0, runs_dir=runs_dir, **quick)
    assert run.settings["options"] == {"focus": 1.0}
    assert dq.evaluate(dq.Run(run.folder), tiny, device="cpu").images == 200
    with pytest.raises(ValueError, match="focal takes focus"):
        dq.fit("focal", tiny, epochs=1, focsu=1.0, runs_dir=runs_dir, **quick)


def test_a_method_needs_no_docstring(registry):
    @register("bare")
    class Bare(Method):
        def loss(self, outputs, labels):
            return F.cross_entropy(outputs.logits[0], labels)

    assert Bare.summary == ""


def test_a_run_of_a_method_this_process_does_not_know_says_so(registry, trained):
    run = dq.Run(trained[0].folder)
    del registry[run.method]
    with pytest.raises(ValueError, match="cross-entropy"):
        run.model  # noqa: B018


def test_one_image_or_no_tensor_is_told_what_to_do(problem, batch):
    model, (images, _) = build("cross-entropy", problem), batch
    with pytest.raises(ValueError, match=r"image\[None\]"):
        model.predict(images[0])
    with pytest.raises(ValueError, match="got ndarray"):
        model.predict(images.numpy())
    with pytest.raises(ValueError, match="batch_size must be"):
        model.predict(images, batch_size=0)
