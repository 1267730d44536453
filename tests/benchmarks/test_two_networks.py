"""Two networks side by side: with one and the same twice, nothing is added by its own word."""

import pytest
import torch
from two_networks import answers, both

import dqroute as dq
from dqroute.data.feature_set import features

HISTOGRAMS = "gradient-histograms"


def test_both_sets_of_features_lie_side_by_side(tiny):
    one = features(tiny, HISTOGRAMS, progress=False)
    other = features(tiny, HISTOGRAMS, progress=False, components=7)
    joint = both(one, other)
    for part, split in joint.splits.items():
        expected = torch.cat([one.splits[part].features, other.splits[part].features], dim=1)
        assert torch.equal(split.features, expected) and split.labels.equal(tiny.splits[part].labels)
    assert joint.encoding.axes.shape == (1024, one.train.shape[0] + 7) and joint.identity != one.identity


@pytest.mark.slow
def test_the_mean_of_a_head_and_itself_is_the_head(runs_dir, monkeypatch):
    monkeypatch.setenv("DQROUTE_RUNS", str(runs_dir))
    monkeypatch.setattr(dq, "load", lambda name, imbalance, load=dq.load, **more: load(name, imbalance=5, **more))
    monkeypatch.setattr(dq, "fit", lambda *given, fit=dq.fit, **more: fit(*given, **more, epochs=2))
    found = answers("digits", [HISTOGRAMS, HISTOGRAMS], 0)
    assert len(found) == 5  # the heads on the first and on the second are one
    head, mean = found[f"one head on {HISTOGRAMS}"], found["the mean of these heads"]
    assert mean == pytest.approx(head, nan_ok=True) and head["overall"] > 30
    assert found[f"dqroute on {HISTOGRAMS}"] != head
