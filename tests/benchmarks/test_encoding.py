"""The benchmark of features runs, and both sides compute the same. Speeds themselves are not judged here."""

import encoding
import pytest
import torch
from photographs import make_photographs, photographs

from dqroute.data.feature_set import pictures
from dqroute.models.encoders import BUNDLED, loaded

pytestmark = pytest.mark.weekly


@pytest.fixture
def folder(tmp_path):
    make_photographs(tmp_path, 18)
    return tmp_path


@pytest.mark.parametrize("side", encoding.SIDES)
def test_each_side_measures_something(side, folder, monkeypatch):
    monkeypatch.setattr(encoding.encoders, "uses_bf16", encoding.encoders.uses_bf16)  # put back afterwards
    found = encoding.measure(side, folder, 18)
    assert all(value > 0 for value in found.values())


def test_the_usual_loop_and_ours_give_the_same_features(folder):
    split = photographs(folder, 18).train
    encoder = loaded(BUNDLED)
    ours = torch.cat([encoder(batch) for batch in pictures(split, range(18), 160, "bicubic")])
    assert torch.cosine_similarity(ours, encoding.usual(split)).min() > 0.95  # Pillow reads JPEG at half its size
