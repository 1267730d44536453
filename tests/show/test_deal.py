"""Deal the world: what the page holds. tests/visits/test_games.py deals, trains and compares with torch."""

import base64
import json
import re

import numpy as np
import pytest

import dqroute as dq
from dqroute.data.sets.glyphs import order_by_difficulty, true_difficulty
from dqroute.show import deal_the_world
from dqroute.show.deal import HONEST, LEARNED, judged_difficulty

SETS = {"n_max": 12, "test_per_class": 4, "size": 16, "seed": 0, "backbone": "gradient-histograms"}
SETTINGS = {"seed": 0, "progress": False, "device": "cpu", "epochs": 5}


@pytest.fixture(scope="module")
def pool():
    return dq.load("glyphs", imbalance=1, **SETS)


@pytest.fixture(scope="module")
def data():
    return dq.load("glyphs", imbalance=6, **SETS)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return dq.fit("logit-adjustment", data, runs_dir=tmp_path_factory.mktemp("runs"), **SETTINGS)


@pytest.fixture(scope="module")
def page(pool, data, run):
    return deal_the_world(pool, data, run, components=16).page


@pytest.fixture(scope="module")
def told(page):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def array(packed):
    return np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"]).reshape(packed["shape"])


def test_features_are_the_sets_own_class_by_class_to_half_a_step(told, pool):
    for name, part in (("pool", pool.train), ("test", pool.test)):
        assert (part.labels.diff() >= 0).all()
        held, own = array(told[name]).astype(float), part.features[:, :16].numpy()
        step = (held * own).sum() / (held * held).sum()
        assert np.abs(held * step - own).max() < 0.51 * step


@pytest.mark.parametrize("correlation", [-1, -0.4, 0, 0.7, 1])
def test_a_page_has_what_it_takes_to_deal_any_world(correlation, told):
    hardness, chance = (array(told[name]).astype(float) for name in ("hardness", "chance"))
    order = np.argsort(correlation * hardness + (1 - correlation**2) ** 0.5 * chance, kind="stable")
    expected = order_by_difficulty(true_difficulty(), correlation, 0).numpy()
    # A tie of two may fall otherwise in 32 bits.
    assert (order != expected).sum() <= 2


def test_counts_are_the_worlds(told, data):
    assert told["counts"] == sorted(data.counts.tolist(), reverse=True)


def test_who_learned_the_images_finds_them_easy(run, data):
    found = judged_difficulty(run, data)
    assert found[LEARNED].mean() < found[HONEST].mean()


def test_the_finding_names_both_correlations(page):
    alt = re.search('aria-label="([^"]*)"', page)[1]
    learned, honest = (float(value.replace("−", "-")) for value in re.findall(r"[+−]\d\.\d\d", alt))
    assert -1 <= learned < honest <= 1


def test_other_sets_are_refused(pool, data, run):
    pictures = dq.load("glyphs", imbalance=1, **SETS | {"backbone": None})
    with pytest.raises(ValueError, match="backbone"):
        deal_the_world(pictures, data, run)
    with pytest.raises(ValueError, match="must have 12 images"):
        deal_the_world(dq.load("glyphs", imbalance=1, **SETS | {"n_max": 10}), data, run)
    with pytest.raises(ValueError, match="multiple of four"):
        deal_the_world(pool, data, run, components=30)
