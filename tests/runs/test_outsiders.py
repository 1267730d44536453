"""Outsiders: the numbers by hand on made-up scores, and the whole on a trained run."""

from dataclasses import replace

import pytest
import torch

import dqroute as dq
from dqroute.data.image_set import Split
from dqroute.runs.evaluate import separation
from dqroute.runs.outsiders import ENERGY, MEAN, ROUTED, abstentions, tell_outsiders


def test_separation_by_hand():
    """0.9 and 0.8 beat both outsiders, 0.6 the first, 0.2 none: five of eight pairs. To keep 95 % of four all four must
    stay, and both outsiders score above the least of them."""
    found = separation(torch.tensor([0.9, 0.8, 0.6, 0.2]), torch.tensor([0.3, 0.7]))
    assert found == {"auroc": pytest.approx(5 / 8), "fpr95": 1.0}
    assert separation(torch.tensor([0.9, 0.8]), torch.tensor([0.3])) == {"auroc": 1.0, "fpr95": 0.0}


def test_abstentions_by_hand():
    """At half the images the threshold is 0.8: of two answers one is right, and one outsider of four is let in."""
    inside, right = torch.tensor([0.2, 0.9, 0.8, 0.5]), torch.tensor([True, True, False, True])
    rows = abstentions(inside, right, torch.tensor([0.85, 0.6, 0.1, 0.3]))
    assert len(rows) == 20
    assert rows[9] == {"coverage": 0.5, "accuracy": 0.5, "outsiders": 0.25}
    assert rows[-1] == {"coverage": 1.0, "accuracy": 0.75, "outsiders": 0.75}
    for low, high in zip(rows, rows[1:], strict=False):
        assert low["coverage"] <= high["coverage"] and low["outsiders"] <= high["outsiders"]


@pytest.fixture(scope="module")
def noise(tiny):
    generator = torch.Generator().manual_seed(0)
    return Split(torch.randint(256, (20, *tiny.shape), dtype=torch.uint8, generator=generator), torch.zeros(20).long())


def test_the_report_agrees_with_the_predictions(trained, tiny, noise):
    run = trained[1]
    report = tell_outsiders(run, noise, tiny)
    own, other = run.model.predict(tiny.test.images), run.model.predict(noise.images)
    assert set(report.scores) == {ROUTED, MEAN, ENERGY, "detector of expert 2", "detector of expert 3"}
    assert report.scores[ROUTED] == pytest.approx(separation(own.probability, other.probability))
    mine = run.model.class_sets()[2][tiny.test.labels]
    known = separation(own.confidence[mine, 2], other.confidence[:, 2])
    assert report.scores["detector of expert 3"]["auroc"] == pytest.approx(known["auroc"], abs=1e-3)
    assert report.abstention[ROUTED][-1]["accuracy"] == pytest.approx(dq.evaluate(run).overall)
    assert report.abstention[MEAN][-1]["accuracy"] == pytest.approx(dq.evaluate(run).plain_mean["overall"])
    on_val = tell_outsiders(run, noise, tiny, split="val")
    right = run.model.predict(tiny.val.images).label == tiny.val.labels
    assert on_val.abstention[ROUTED][-1]["accuracy"] == pytest.approx(right.float().mean().item())


def test_a_method_of_one_expert_has_no_detectors_to_ask(trained, tiny, noise):
    assert set(tell_outsiders(trained[0], noise, tiny).scores) == {ROUTED, MEAN, ENERGY}


def test_other_data_are_refused(trained, tiny, noise):
    with pytest.raises(ValueError, match="is not the data of"):
        tell_outsiders(trained[1], noise, replace(tiny, identity=tiny.identity | {"version": 7}))
    with pytest.raises(ValueError, match="unknown split 'train'"):
        tell_outsiders(trained[1], noise, tiny, split="train")
