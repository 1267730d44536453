"""A run in other worlds: how test sets are thinned, and what is kept of it."""

import pandas as pd
import pytest
import torch

import dqroute as dq
from dqroute.data import features
from dqroute.runs.worlds import drawn, worlds_of

QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture
def run(tiny, runs_dir):
    seen = features(tiny, "gradient-histograms", **QUIET)
    return dq.fit("dqroute", seen, runs_dir=runs_dir, epochs=15, **QUIET)


def test_the_thinned_set_has_the_profile_and_is_drawn_by_the_seed():
    labels = torch.arange(5).repeat(100)
    rank = torch.tensor([3, 1, 0, 2, 4])  # class 3 is the head
    there = drawn(labels, rank, 16, seed=0)
    assert labels[there].bincount().tolist() == [25, 50, 12, 100, 6]
    assert drawn(labels, rank, 1, seed=0).equal(torch.arange(500))
    assert not drawn(labels, rank, 16, seed=1).equal(there)


def test_a_row_a_world_and_prediction_and_it_is_kept(run):
    found = worlds_of(run, factors=(10,))
    assert len(found) == 3 * 3 and set(found["world"]) == {"balanced", "forward", "backward"}
    balanced = found.query("world == 'balanced' and prediction == 'routed'").iloc[0]
    assert balanced["as it is"] == pytest.approx(100 * dq.evaluate(run).overall, abs=0.01)
    assert balanced["told"] == pytest.approx(balanced["as it is"], abs=1e-6)
    pd.testing.assert_frame_equal(worlds_of(run.folder, factors=(10,)), found)
    # Other factors are another question.
    assert set(worlds_of(run, factors=(4,))["imbalance"]) == {1, 4}


def test_sade_adapts_in_its_own_way(tiny, runs_dir):
    seen = features(tiny, "gradient-histograms", **QUIET)
    run = dq.fit("sade", seen, runs_dir=runs_dir, epochs=15, **QUIET)
    found = worlds_of(run, factors=(10,)).set_index("prediction")
    own, mean = found.loc["aggregated"], found.loc["plain mean"]
    assert len(own) == 3 and own["as it is"].tolist() == mean["as it is"].tolist()
    assert own["adapted"].tolist() != own["as it is"].tolist()
    # Pictures are shown as they are and mirrored.
    pictures = dq.fit("sade", tiny, runs_dir=runs_dir, epochs=1, backbone="resnet8", **QUIET)
    assert "aggregated" in set(worlds_of(pictures, factors=(10,))["prediction"])


def test_what_a_model_was_adapted_to_survives_a_pile_that_it_is_asked_to_adapt_to(run, tiny):
    own = torch.tensor([0.2, 0.3, 0.5])
    run.model.shares.copy_(own)
    pile = [image.expand(3, -1, -1) for image in tiny.test.images[:40]]
    before = dq.classify(run, pile, progress=False)
    dq.classify(run, pile, adapt=True, progress=False)
    assert run.model.shares.equal(own)
    pd.testing.assert_frame_equal(dq.classify(run, pile, progress=False), before)


def test_an_adapted_model_is_evaluated_for_balanced_classes(run, tiny):
    rare = (tiny.test.labels >= 6).nonzero()[:, 0].repeat(4)
    run.model.adapt(run.data.test.features[rare])
    assert (run.model.shares - run.model.calibration.rings.bincount() / 10).abs().max() > 0.1
    adapted = run.model.shares.clone()
    report = dq.evaluate(run)
    assert run.model.shares.equal(adapted)
    right = dq.Run(run.folder).model.predict(run.data.test).label == tiny.test.labels
    assert report.overall == pytest.approx(right.float().mean().item())


def test_groups_without_classes_are_no_trouble(tiny, runs_dir):
    from dataclasses import replace

    from dqroute.core.long_tail import shot_groups

    seen = features(tiny, "gradient-histograms", **QUIET)
    shots = replace(seen, groups=shot_groups(seen.counts, "shots"), identity=seen.identity | {"groups": "shots"})
    run = dq.fit("logit-adjustment", shots, runs_dir=runs_dir, epochs=2, **QUIET)
    assert len(worlds_of(run, factors=(10,))) == 9
