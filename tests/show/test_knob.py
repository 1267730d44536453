"""The knob, before it is in a page; tests/visits/test_knob_moves.py turns it in a browser."""

import json

import pytest
import torch
from bs4 import BeautifulSoup
from training import nearest_means

import dqroute as dq
from dqroute import show
from dqroute.core.losses import log_prior
from dqroute.measures.worlds import reweighed, shares_in
from dqroute.runs import worlds
from dqroute.show.knob import (
    IMAGES,
    TAUS,
    as_bytes,
    as_log_p,
    drawn,
    gains,
    hits,
    representative,
    shares,
    still,
    weights,
)


@pytest.fixture(scope="module")
def data():
    return dq.load("photographs")


@pytest.fixture(scope="module")
def said(data):
    return nearest_means(data)


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


@pytest.fixture(scope="module")
def page(data, said):
    return BeautifulSoup(show.knob(said, data).page, "html.parser")


@pytest.fixture(scope="module")
def told(page):
    text = page.find("script", type="application/json").string
    assert len(text) < 500_000
    return json.loads(text)


@pytest.fixture(scope="module")
def in_page(data, said):
    """What is in the page: log-probabilities by name, and labels."""
    some = representative(said, data.test.labels, log_prior(data.counts), ranks(data), 50.0)
    return {name: as_log_p(as_bytes(log_p[some])) for name, log_p in said.items()}, data.test.labels[some]


def test_its_words_are_its_finding(data, page, in_page):
    place, rings, (by_name, labels) = ranks(data), data.groups.of_class(), in_page
    alt, counting = page.find(class_="dq-moving")["aria-label"], weights(labels, place, 50.0)[:, 2]
    for name, log_p in by_name.items():
        found = shares_in(log_p[drawn(labels, place, 50.0, 1.0)], rings).share
        right = [(of.argmax(dim=1) == labels).double() for of in (log_p, reweighed(log_p, rings, found))]
        before, after = (100 * (of @ counting).item() for of in right)
        assert f"{name} from {before:.1f} to {after:.1f} %" in alt


def test_the_pictures_shown_are_right_at_some_settings_only(data, told, in_page):
    assert [head["name"] for head in told["heads"]] == ["unsure", "sure"]
    (by_name, labels), shown = in_page, told["cards"]
    right = hits(by_name["sure"], labels, log_prior(data.counts))[:, shown].mean(dim=0)
    assert ((right > 0.1) & (right < 0.9)).all()
    assert len({int(labels[i]) for i in shown}) == len(shown) == 12
    assert [int(data.groups.of_class()[labels[i]]) for i in shown] == [0] * 4 + [1] * 4 + [2] * 4


def test_the_still_picture_holds_all_curves_and_where_detectors_lead(data, said):
    labels, log_pi, place, rings = data.test.labels, log_prior(data.counts), ranks(data), data.groups.of_class()
    curves = {name: 100 * hits(log_p, labels, log_pi) @ weights(labels, place, 50.0) for name, log_p in said.items()}
    gained = {name: gains(log_p, labels, rings, place, 50.0) for name, log_p in said.items()}
    for world, ax in enumerate(still(curves, gained).axes):
        drawn_lines = [line for line in ax.lines if len(line.get_xdata())]
        low, high = ax.get_ylim()
        assert low == 0 and all(low < y < high for line in drawn_lines for y in line.get_ydata())
        for name, (line, before, after) in zip(said, (drawn_lines[:3], drawn_lines[3:]), strict=True):
            assert line.get_ydata() == pytest.approx(curves[name][:, world].tolist())
            assert before.get_ydata()[0] == pytest.approx(float(curves[name][10, world])) and TAUS[10] == 1
            assert after.get_ydata()[0] == pytest.approx(float(gained[name][1, world]))


@pytest.mark.parametrize("wrong", ["none", "three", "other pictures", "NaN"])
def test_what_is_no_prediction_of_the_test_pictures_is_refused(data, said, wrong):
    log_p = said["sure"]
    given = {"none": {}, "three": dict.fromkeys("abc", log_p), "other pictures": {"a": log_p[:9]}}
    with pytest.raises(ValueError, match=r"log-probabilities \[10000, 100\] without NaN by one or two names"):
        show.knob(given.get(wrong, {"a": log_p * float("nan")}), data)
