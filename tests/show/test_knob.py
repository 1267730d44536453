"""The knob, before it is in a page; tests/visits/test_knob_moves.py turns it in a browser."""

import json

import pytest
import torch
from bs4 import BeautifulSoup

import dqroute as dq
from dqroute import show
from dqroute.core.losses import log_prior
from dqroute.core.worlds import reweighed, shares_in
from dqroute.runs import worlds
from dqroute.show.knob import IMAGES, TAUS, as_bytes, as_log_p, drawn, hits, representative, shares, weights


@pytest.fixture(scope="module")
def data():
    return dq.load("photographs")


@pytest.fixture(scope="module")
def said(data):
    return nearest_means(data)


def nearest_means(data):
    """Two heads of the photographs that take no training: how near the mean of a class is, unsure and sure of it."""
    means = torch.stack([data.train.features[data.train.labels == c].mean(dim=0) for c in range(data.num_classes)])
    like = torch.nn.functional.normalize(data.test.features, dim=1) @ torch.nn.functional.normalize(means, dim=1).T
    return {name: (scale * like).log_softmax(dim=1) for name, scale in {"unsure": 10, "sure": 25}.items()}


def ranks(data):
    return data.counts.argsort(descending=True, stable=True).argsort()


def test_shares_of_three_classes():
    """At F = 4 each next class is twice as common as the one before it, or half as."""
    place = torch.tensor([2, 0, 1])
    for world, wanted in ((1, [4, 1, 2]), (0, [1, 1, 1]), (-1, [1, 4, 2])):
        torch.testing.assert_close(shares(place, 4.0, world), torch.tensor(wanted).double() / sum(wanted))


@pytest.mark.parametrize("world", [-1.0, 0.0, 1.0])
def test_a_world_has_as_many_pictures_of_each_class_as_where_runs_are_judged(data, world):
    labels, place = data.test.labels, ranks(data)
    order = place.argsort()
    there = worlds.drawn(labels, order if world < 1 else order.flip(0), 50 if world else 1, 0)
    here = drawn(labels, place, 50.0, world)
    assert labels[here].bincount().equal(labels[there].bincount())


def test_the_pictures_in_the_page_speak_for_all_of_them(data, said):
    labels, log_pi, place = data.test.labels, log_prior(data.counts), ranks(data)
    some = representative(said, labels, log_pi, place, 50.0)
    assert labels[some].bincount().equal(torch.full((100,), IMAGES // 100)) and len(some.unique()) == len(some)
    for log_p in said.values():
        few = hits(log_p[some], labels[some], log_pi) @ weights(labels[some], place, 50.0)
        torch.testing.assert_close(few, hits(log_p, labels, log_pi) @ weights(labels, place, 50.0), rtol=0, atol=0.02)


def test_eight_bits_cost_no_accuracy(data, said):
    labels, log_pi = data.test.labels, log_prior(data.counts)
    counting = weights(labels, ranks(data), 50.0)
    for log_p in said.values():
        kept = as_log_p(as_bytes(log_p))
        before, after = (hits(of, labels, log_pi) @ counting for of in (log_p, kept))
        torch.testing.assert_close(after, before, rtol=0, atol=0.003)
        assert (kept.argmax(dim=1) == log_p.argmax(dim=1)).double().mean() > 0.999


def test_the_page_is_light_and_its_words_are_its_finding(data, said):
    page = BeautifulSoup(show.knob(said, data).page, "html.parser")
    told = page.find("script", type="application/json").string
    assert len(told) < 500_000
    told, alt = json.loads(told), page.find(class_="dq-moving")["aria-label"]
    assert [head["name"] for head in told["heads"]] == ["unsure", "sure"]
    labels, log_pi, place, rings = data.test.labels, log_prior(data.counts), ranks(data), data.groups.of_class()
    some = representative(said, labels, log_pi, place, 50.0)
    labels = labels[some]
    for name, log_p in said.items():
        log_p = as_log_p(as_bytes(log_p[some]))
        found = shares_in(log_p[drawn(labels, place, 50.0, 1.0)], rings).share
        right = [(of.argmax(dim=1) == labels).double() for of in (log_p, reweighed(log_p, rings, found))]
        before, after = (100 * (of @ weights(labels, place, 50.0)[:, 2]).item() for of in right)
        assert f"{name} from {before:.1f} to {after:.1f} %" in alt


def test_the_pictures_shown_are_right_at_some_settings_only(data, said):
    page = BeautifulSoup(show.knob(said, data).page, "html.parser")
    shown = json.loads(page.find("script", type="application/json").string)["cards"]
    log_pi, place = log_prior(data.counts), ranks(data)
    some = representative(said, data.test.labels, log_pi, place, 50.0)
    labels = data.test.labels[some]
    right = hits(as_log_p(as_bytes(said["sure"][some])), labels, log_pi)[:, shown].mean(dim=0)
    assert ((right > 0.1) & (right < 0.9)).all() and len(TAUS) == 31
    assert len({int(labels[i]) for i in shown}) == len(shown) == 12
    assert [int(data.groups.of_class()[labels[i]]) for i in shown] == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("wrong", ["none", "three", "other pictures", "NaN"])
def test_what_is_no_prediction_of_the_test_pictures_is_refused(data, said, wrong):
    log_p = said["sure"]
    given = {"none": {}, "three": dict.fromkeys("abc", log_p), "other pictures": {"a": log_p[:9]}}
    with pytest.raises(ValueError, match=r"log-probabilities \[10000, 100\] without NaN by one or two names"):
        show.knob(given.get(wrong, {"a": log_p * float("nan")}), data)
