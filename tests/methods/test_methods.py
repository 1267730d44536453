"""Every method there is: it builds, learns everything it holds, and predicts distributions."""

import math

import pytest
import torch
from torch.nn import functional as F

from dqroute.core import losses
from dqroute.core.detectors import DETECTORS
from dqroute.core.routing import FUSIONS
from dqroute.methods.base import METHODS, method_options

# What is only worked out from features has nothing to learn.
END_TO_END = [name for name, method in METHODS.items() if method.trained]
VARIANTS = [
    *((name, {}) for name in END_TO_END),
    ("cross-entropy", {"classifier": "cosine"}),
    ("ride", {"base": "ldam", "classifier": "cosine"}),
    ("ride", {"experts": 1}),
    ("balpoe", {"experts": 1}),
    ("sade", {"classifier": "cosine"}),
    *(("dqroute", {"detector": kind}) for kind in DETECTORS),
    *(("dqroute", {"fusion": rule}) for rule in FUSIONS),
    ("dqroute", {"outsiders": 0.0, "fusion": "restricted"}),
    ("dqroute", {"outsiders": 0.2}),
    ("dqroute", {"classifier": "cosine", "prior": "effective"}),
    *(("dqroute", {"experts": k}) for k in (1, 2, 4)),
]
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda v: str(v) if v else "")


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


def test_cross_entropy_has_one_expert_and_no_option_for_more(problem):
    """Its loss would not reach others."""
    assert "experts" not in method_options("cross-entropy")
    assert build("cross-entropy", problem).network.experts == 1


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
    z, loss = outputs_and_loss("focused", outsiders=1.0)
    torch.testing.assert_close(loss, F.cross_entropy(z[0] + log_pi, labels))
    z, loss = outputs_and_loss("weighted", rarity=0.0)
    torch.testing.assert_close(loss, F.cross_entropy(z[0] + log_pi, labels))
    z, loss = outputs_and_loss("weighted", rarity=1.0)  # Every class as often as any other: no prior is left.
    balanced = F.cross_entropy(z[0], labels, reduction="none") / problem.counts[labels]
    torch.testing.assert_close(loss, balanced.mean() * problem.counts.sum() / len(problem.counts))
    z, loss = outputs_and_loss("geometric-mean", tau=0.5)
    torch.testing.assert_close(loss, losses.geometric_mean(z[0], labels, log_pi, 0.5))
    z, loss = outputs_and_loss("balpoe")
    each = (losses.logit_adjusted(e, labels, log_pi, t) for e, t in zip(z, (0, 1, 2), strict=True))
    torch.testing.assert_close(loss, sum(each))
    z, loss = outputs_and_loss("ride", diversity=0.0)
    torch.testing.assert_close(loss, sum(losses.logit_adjusted(e, labels, log_pi) for e in z))
    z, loss = outputs_and_loss("sade")
    each = (F.cross_entropy(z[0], labels), losses.logit_adjusted(z[1], labels, log_pi))
    torch.testing.assert_close(loss, sum(each) + losses.inverse_softmax(z[2], labels, log_pi, 2.0))


def test_a_gaussian_wants_features(problem):
    with pytest.raises(ValueError, match=r"reads features .* load the set with backbone="):
        build("gaussian", problem)


def test_focused_learns_as_dqroutes_third_expert_does(problem, batch):
    """Without class weights and detectors the third term of the joint loss, on the same logits."""
    images, labels = batch
    focused, joint = build("focused", problem, outsiders=0.3), build("dqroute", problem, outsiders=0.3).criterion
    outputs = focused(images)
    own = joint.focus[2][labels] * F.cross_entropy(outputs.logits[0] + joint.log_priors[2], labels, reduction="none")
    torch.testing.assert_close(focused.loss(outputs, labels), own.mean())


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
    model.loss(model(images), labels)
    model.end_epoch()
    model.start_epoch(0.4)
    assert torch.equal(model.criterion.class_weights, torch.ones(10))
    model.start_epoch(0.5)
    assert model.criterion.class_weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert model.criterion.class_weights.std() > 0.01


def test_dqroute_without_difficulty_weighs_by_frequency(problem):
    """α = 0, strength 1: w_c ∝ 1 / n_c with mean 1."""
    model = build("dqroute", problem, alpha=0.0, strength=1.0, start=0.0)
    model.start_epoch(0.0)
    inverse = 1 / problem.counts.float()
    torch.testing.assert_close(model.criterion.class_weights, inverse / inverse.mean())


def test_dqroutes_detector_images_weigh_every_class_alike(problem):
    """Weights ∝ 1 / n_c, with mean 1 over the training images."""
    weights = build("dqroute", problem).criterion.image_weights
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
    model.loss(model(images), labels)
    model.end_epoch()
    found = model.diagnostics()
    assert {"difficulty", "difficulty_weights", "class_weights"} <= set(found)
    assert all(len(values) == 10 for values in found.values())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dqroute", {"alpha": 1.5}, "alpha"),
        ("dqroute", {"start": -1}, "start"),
        ("dqroute", {"strength": -1}, "strength"),
        ("dqroute", {"outsiders": 1.5}, "outsiders must lie between 0 and 1"),
        ("dqroute", {"outsiders": 0}, "fusion='restricted'"),
        ("dqroute", {"lam": math.nan}, "lam must be a number between 0 and 1000"),
        ("dqroute", {"tau": -1.0}, "tau must lie"),
        ("ldam", {"start": 2.0}, "start must lie between 0 and 1"),
        ("dqroute", {"detector": "psychic"}, ", ".join(DETECTORS)),
        ("dqroute", {"prior": "flat"}, "inverse, effective"),
        ("dqroute", {"memory": 2}, "memory"),
        ("dqroute", {"experts": 9}, "would have no class; take fewer"),
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


def test_every_method_has_a_summary_of_one_line():
    for method in METHODS.values():
        assert method.summary.endswith(".") and "\n" not in method.summary
