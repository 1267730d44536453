"""The photographs that come with the package."""

import pytest
import torch

import dqroute as dq
from dqroute.data import FeatureSplit
from dqroute.data.sets.photographs import FILE
from dqroute.models.encoders import loaded


def test_the_counts_are_the_protocols():
    data = dq.load("photographs", imbalance=100)
    assert len(data.train) == 10_847 and data.imbalance == 100 and data.counts[0] == 500
    assert [len(data.groups[name]) for name in ("many", "medium", "few")] == [35, 35, 30]
    assert data.test.labels.bincount().tolist() == [100] * 100
    assert data.class_names[0] == "apple" and len(set(data.class_names)) == 100


def test_the_whole_pool_has_imbalance_ten():
    data = dq.load("photographs", imbalance=None)
    assert len(data.train) == 19_573 and data.counts.max() == 500 and data.counts.min() == 50
    with pytest.raises(ValueError, match="imbalance 5 asks for"):
        dq.load("photographs", imbalance=5)


def test_the_seed_draws_and_the_rest_may_validate():
    first, second = (dq.load("photographs", seed=seed) for seed in (0, 1))
    assert not first.train.features.equal(second.train.features)
    assert first.fingerprint() != second.fingerprint() == dq.load("photographs", seed=1).fingerprint()
    held = dq.load("photographs", imbalance=100, n_max=480, val=10)
    assert held.val.labels.bincount().tolist() == [10] * 100


def test_only_features_are_there_and_a_model_says_so():
    data = dq.load("photographs")
    assert isinstance(data.train, FeatureSplit)
    with pytest.raises(AttributeError, match="only the features are here"):
        data.train.images  # noqa: B018


def test_the_file_is_small_and_the_features_are_the_bundled_encoders():
    assert FILE.stat().st_size < 8_000_000
    encoding = dq.load("photographs").encoding
    assert encoding.weights == loaded(encoding.backbone).weights and encoding.size == 160
    # Principal components of standardised features: uncorrelated, over the pool, and falling.
    x = dq.load("photographs", imbalance=None).train.features
    correlation = torch.corrcoef(x.T) - torch.eye(256)
    assert correlation.abs().max() < 0.02 and (x.var(dim=0)[:-1] > x.var(dim=0)[1:] * 0.97).all()
