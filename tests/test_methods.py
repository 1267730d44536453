"""Every method there is: it builds, learns everything it holds, and predicts distributions."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

import dqroute as dq
from dqroute import losses
from dqroute.detectors import DETECTORS
from dqroute.methods import METHODS, Method, Problem, method_options, register
from dqroute.routing import FUSIONS

VARIANTS = [
    *((name, {}) for name in METHODS),
    ("cross-entropy", {"classifier": "cosine"}),
    ("ride", {"base": "ldam", "classifier": "cosine"}),
    ("ride", {"experts": 1}),
    ("sade", {"classifier": "cosine"}),
    *(("dqroute", {"detector": kind}) for kind in DETECTORS),
    *(("dqroute", {"fusion": rule}) for rule in FUSIONS),
    ("dqroute", {"nesting": "hard", "fusion": "restricted"}),
    ("dqroute", {"classifier": "cosine", "prior": "effective"}),
    *(("dqroute", {"experts": k}) for k in (1, 2, 4)),
]
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda v: str(v) if v else "")


@pytest.fixture(scope="module")
def problem(tiny):
    return Problem(tiny.counts, tiny.groups, 1, (80.0,), (90.0,))


@pytest.fixture
def batch(tiny):
    """Two images of every class."""
    labels = tiny.train.labels
    index = torch.cat([(labels == c).nonzero().flatten()[:2] for c in range(10)])
    return tiny.train.images[index], labels[index]


def build(name, problem, **options):
    torch.manual_seed(0)
    return METHODS[name](problem, **options)


@every_variant
def test_the_loss_is_finite_and_its_gradient_reaches_every_parameter(name, options, problem, batch):
    images, labels = batch
    model = build(name, problem, **options).train()
    for progress in (0.0, 0.9):
        model.zero_grad()
        model.start_epoch(progress)
        outputs = model(images)
        loss = model.loss(outputs, labels)
        assert loss.shape == () and torch.isfinite(loss)
        loss.backward()
        for parameter, value in model.named_parameters():
            assert value.grad is not None and torch.isfinite(value.grad).all(), parameter
            assert value.grad.any(), parameter
        model.observe(outputs, labels)
        model.end_epoch()


@every_variant
def test_predictions_are_distributions_of_the_right_shapes(name, options, problem, tiny):
    model = build(name, problem, **options)
    images = tiny.test.images[:12]
    k = model.network.experts
    p = model.predict(images)
    assert p.label.shape == p.probability.shape == (12,)
    assert p.probabilities.shape == (12, 10) and p.expert_labels.shape == (12, k)
    assert p.expert_weights.shape == p.confidence.shape == (12, k)
    torch.testing.assert_close(p.probabilities.sum(dim=1), torch.ones(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(p.expert_weights.sum(dim=1), torch.ones(12), atol=1e-5, rtol=0)
    assert (p.probabilities >= 0).all() and (p.expert_weights >= 0).all()
    assert ((p.confidence >= 0) & (p.confidence <= 1)).all() and (p.confidence[:, 0] == 1).all()
    assert torch.equal(p.label, p.probabilities.argmax(dim=1))
    assert torch.equal(p.probability, p.probabilities.gather(1, p.label[:, None])[:, 0])
    assert model.class_sets().shape == (k, 10) and model.class_sets()[0].all()


def test_cross_entropy_does_not_predict_with_experts_it_never_trains(problem, batch):
    """Either it has no such option, or the loss reaches them."""
    if "experts" not in method_options("cross-entropy"):
        return
    images, labels = batch
    model = build("cross-entropy", problem, experts=3)
    model.loss(model(images), labels).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.network.branches[2].parameters())


def test_losses_are_those_of_the_formulas(problem, batch):
    """Each method's loss, taken again from the loss functions on the same outputs."""
    images, labels = batch
    log_pi = losses.log_prior(problem.counts)

    def outputs_and_loss(name, **options):
        model = build(name, problem, **options).train()
        model.start_epoch(0.0)
        outputs = model(images)
        return outputs.logits, model.loss(outputs, labels)

    z, loss = outputs_and_loss("cross-entropy")
    torch.testing.assert_close(loss, F.cross_entropy(z[0], labels))
    z, loss = outputs_and_loss("logit-adjustment", tau=0.5)
    torch.testing.assert_close(loss, F.cross_entropy(z[0] + 0.5 * log_pi, labels))
    z, loss = outputs_and_loss("class-balanced")
    torch.testing.assert_close(loss, F.cross_entropy(z[0], labels))
    z, loss = outputs_and_loss("ldam")
    torch.testing.assert_close(loss, losses.ldam(z[0], labels, losses.ldam_margins(problem.counts), 30.0))
    z, loss = outputs_and_loss("ride", diversity=0.0)
    torch.testing.assert_close(loss, sum(losses.logit_adjusted(e, labels, log_pi) for e in z))
    z, loss = outputs_and_loss("sade")
    each = (F.cross_entropy(z[0], labels), losses.logit_adjusted(z[1], labels, log_pi))
    torch.testing.assert_close(loss, sum(each) + losses.inverse_softmax(z[2], labels, log_pi, 2.0))


@pytest.mark.parametrize("name", ["class-balanced", "ldam"])
def test_deferred_weights_start_when_they_should(name, problem, batch):
    images, labels = batch
    model = build(name, problem, start=0.5).eval()
    found = []
    for progress in (0.0, 0.49, 0.5, 1.0):
        model.start_epoch(progress)
        found.append(model.loss(model(images), labels).item())
    assert found[0] == found[1] != found[2] == found[3]


def test_dqroutes_weights_start_when_they_should_and_have_mean_one(problem, batch):
    images, labels = batch
    model = build("dqroute", problem, start=0.5).train()
    model.observe(model(images), labels)
    model.end_epoch()
    model.start_epoch(0.4)
    assert torch.equal(model.class_weights, torch.ones(10))
    model.start_epoch(0.5)
    assert model.class_weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert model.class_weights.std() > 0.01


def test_dqroute_without_difficulty_weighs_by_frequency(problem):
    """α = 0, strength 1: w_c ∝ 1 / n_c with mean 1."""
    model = build("dqroute", problem, alpha=0.0, strength=1.0, start=0.0)
    model.start_epoch(0.0)
    inverse = 1 / problem.counts.float()
    torch.testing.assert_close(model.class_weights, inverse / inverse.mean())


def test_dqroutes_detector_images_weigh_every_class_alike(problem):
    """Weights ∝ 1 / n_c, with mean 1 over the training images."""
    weights = build("dqroute", problem).image_weights
    torch.testing.assert_close(weights * problem.counts, torch.full((10,), problem.counts.float().mean().item()))
    assert ((weights * problem.counts).sum() / problem.counts.sum()).item() == pytest.approx(1, abs=1e-5)


def test_dqroutes_experts_are_nested_as_the_shot_groups_say(problem):
    sets = build("dqroute", problem).class_sets()
    groups = problem.groups
    expected = [set(range(10)), {*groups.medium, *groups.few}, set(groups.few)]
    assert [set(row.nonzero().flatten().tolist()) for row in sets] == expected


def test_the_diagnostics_of_an_epoch_are_one_number_a_class(problem, batch):
    images, labels = batch
    model = build("dqroute", problem).train()
    model.observe(model(images), labels)
    model.end_epoch()
    found = model.diagnostics()
    assert {"difficulty", "difficulty_weights", "class_weights"} <= set(found)
    assert all(len(values) == 10 for values in found.values())


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


def test_skipping_no_one_is_predicting_densely(problem, tiny):
    model = build("dqroute", problem, detector="trunk").eval()
    images = tiny.test.images[:20]
    dense, sparse = model.predict(images), model.predict(images, skip_below=0.0)
    assert dense.ran.all() and sparse.ran.all()
    for a, b in zip(dense, sparse, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_experts_whose_detectors_say_no_are_skipped(problem, tiny):
    model = build("dqroute", problem, detector="trunk").eval()
    images = tiny.test.images[:50]
    confidence = model.predict(images).confidence
    least = confidence[:, 1].median().item()
    p = model.predict(images, skip_below=least)
    assert torch.equal(p.ran, confidence >= least)
    assert p.ran[:, 0].all() and 0 < p.ran[:, 1].sum() < 50
    assert ((p.expert_labels == -1) == ~p.ran).all() and ((p.expert_weights == 0) == ~p.ran).all()
    alone = model.predict(images, skip_below=1.0)
    assert alone.ran.sum(dim=1).tolist() == [1] * 50
    assert torch.equal(alone.label, alone.expert_labels[:, 0]) and torch.equal(alone.label, alone.mean_label)


@pytest.mark.parametrize("name", ["ride", "sade", "dqroute"])
def test_experts_are_asked_until_they_are_sure(name, problem, tiny):
    """By hand: expert 1 for all; expert 2 where that is not sure; expert 3 where the mean of the two is not either.

    Sure is who finds a class so many times as probable as the next.
    """
    model, images = build(name, problem).eval(), tiny.test.images[:60]
    # Weights as drawn are sure of nothing; larger ones give every probability there is.
    torch.nn.init.normal_(model.network.classifiers[0].weight, std=0.2)
    logits = model.network(model.normalise(images)).logits
    ranked = [logits[:k].mean(dim=0).softmax(dim=1).sort(dim=1, descending=True).values for k in (1, 2)]
    first, two = (p[:, 0] / p[:, 1] for p in ranked)
    sure = first.median().item() * (1 + 1e-4)
    p = model.predict(images, sure_at=sure)
    expected = torch.stack([torch.ones(60).bool(), first < sure, (first < sure) & (two < sure)], dim=1)
    assert torch.equal(p.ran, expected) and 0 < p.ran[:, 1].sum() < 60
    assert model.predict(images, sure_at=1.0).ran.sum() == 60
    everyone = model.predict(images, sure_at=1e30)
    assert everyone.ran.all() and torch.equal(everyone.label, model.predict(images).label)


def test_one_rule_of_skipping_at_a_time(problem, tiny):
    with pytest.raises(ValueError, match="not both"):
        build("dqroute", problem, detector="trunk").predict(tiny.test.images[:2], skip_below=0.5, sure_at=0.5)


@pytest.mark.parametrize(("name", "options"), [("ride", {}), ("dqroute", {"detector": "energy"})])
def test_without_detectors_on_the_trunk_no_expert_can_be_skipped(name, options, problem, tiny):
    with pytest.raises(ValueError, match="detector='trunk'"):
        build(name, problem, **options).predict(tiny.test.images[:2], skip_below=0.5)


def test_a_probability_to_skip_below_lies_between_0_and_1(problem, tiny):
    with pytest.raises(ValueError, match="skip_below must lie between 0 and 1"):
        build("dqroute", problem, detector="trunk").predict(tiny.test.images[:2], skip_below=50)


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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dqroute", {"alpha": 1.5}, "alpha"),
        ("dqroute", {"start": -1}, "start"),
        ("dqroute", {"strength": -1}, "strength"),
        ("dqroute", {"nesting": "firm"}, "soft, hard"),
        ("dqroute", {"nesting": "hard"}, "fusion='restricted'"),
        ("dqroute", {"lam": math.nan}, "lam must lie at 0 or above"),
        ("dqroute", {"tau": -1.0}, "tau must lie"),
        ("ldam", {"start": 2.0}, "start must lie between 0 and 1"),
        ("dqroute", {"detector": "psychic"}, ", ".join(DETECTORS)),
        ("dqroute", {"prior": "flat"}, "inverse, effective"),
        ("dqroute", {"memory": 2}, "memory"),
        ("dqroute", {"experts": 9}, "fewer experts"),
        ("ride", {"base": "sade"}, "logit-adjustment, ldam"),
        ("ride", {"base": "ldam"}, "cosine"),
        ("sade", {"classifier": "cubic"}, "linear, cosine"),
    ],
)
def test_values_out_of_range_are_refused_when_the_method_is_built(name, options, message, problem):
    with pytest.raises(ValueError, match=message):
        build(name, problem, **options)


@pytest.mark.parametrize("options", [{"fusion": "median"}, {"temperature": 0.0}])
def test_a_wrong_fusion_is_refused_when_the_method_is_built(options, problem):
    with pytest.raises(ValueError, match=next(iter(options))):
        build("dqroute", problem, **options)


def test_prediction_asks_for_the_size_that_was_trained_on(problem, batch):
    images, _ = batch
    height, width = images.shape[2:]
    model = build("cross-entropy", dataclasses.replace(problem, size=(height, width)))
    assert len(model.predict(images).label) == len(images)
    with pytest.raises(ValueError, match=f"trained on {height}x{width} images"):
        model.predict(images[:, :, :-1])


@pytest.fixture
def registry():
    """The methods as they were, afterwards."""
    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)


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


def test_every_method_has_a_summary_of_one_line():
    for method in METHODS.values():
        assert method.summary.endswith(".") and "\n" not in method.summary
