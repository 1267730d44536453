"""Be the router: what the page holds is what the run says. tests/visits/test_games.py plays it."""

import json

import pytest
import torch
from bs4 import BeautifulSoup

import dqroute as dq
from dqroute.data.markup import address, image_of
from dqroute.show import be_the_router
from dqroute.show.router_game import FOOLED, HONEST, MEAN, ORACLE, heard, spoken

SETTINGS = {"seed": 0, "progress": False, "device": "cpu", "epochs": 3}


@pytest.fixture(scope="module")
def data():
    drawn = {"imbalance": 20, "n_max": 20, "test_per_class": 5, "size": 16}
    return dq.load("glyphs", seed=0, backbone="gradient-histograms", **drawn)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return dq.fit("dqroute", data, gaussian=False, runs_dir=tmp_path_factory.mktemp("runs"), **SETTINGS)


@pytest.fixture(scope="module")
def told(run, data):
    page = BeautifulSoup(be_the_router(run, data, held=40).page, "html.parser")
    return json.loads(page.find("script", type="application/json").string)


def test_routers_are_the_runs_own(run, data, told):
    """Each held picture is found again by its bytes, and has the answers that prediction gives."""
    seen = run.model.predict(data.test)
    by_image = {}
    for i, image in enumerate(data.test.images):
        by_image[address(image_of(image))] = i
    assert told["routers"] == [MEAN, FOOLED, HONEST, ORACLE] and len(told["pictures"]) == 40
    for picture in told["pictures"]:
        i = by_image[picture["image"]]
        assert picture["truth"] == data.test.labels[i] and len(set(picture["says"])) > 1
        assert picture["says"] == seen.expert_labels[i].tolist()
        mean, _, honest = picture["answers"]
        assert (mean, honest) == (seen.mean_label[i], seen.label[i])


def test_a_place_is_what_the_detectors_take_a_picture_for(run, data):
    places, seen = heard(run, data).places, run.model.predict(data.test)
    for place in places.values():
        torch.testing.assert_close(place.sum(dim=1), torch.ones(len(place)))
    torch.testing.assert_close(places[HONEST][:, 2], seen.confidence[:, 2].float())
    torch.testing.assert_close(places[HONEST][:, 1:].sum(dim=1), seen.confidence[:, 1].float())


def test_shares_are_of_all_pictures_that_divide_the_experts(run, data, told):
    seen, truth = run.model.predict(data.test), data.test.labels
    divided = (seen.expert_labels != seen.expert_labels[:, :1]).any(dim=1)
    assert told["divided"] == divided.sum() and told["all"] == len(truth)
    known = (seen.expert_labels == truth[:, None]).any(dim=1)
    for name, right in ((MEAN, seen.mean_label == truth), (HONEST, seen.label == truth), (ORACLE, known)):
        share = told["shares"][told["routers"].index(name)]
        assert share == pytest.approx(100 * right[divided].double().mean().item(), abs=0.06)


def test_a_judge_of_training_images_believes_in_what_was_memorised(run, data):
    """It takes fewer test pictures for few-shot ones."""
    places = heard(run, data).places
    assert places[FOOLED][:, 2].mean() < places[HONEST][:, 2].mean()


def test_the_finding_is_said_in_numbers(run, data, told):
    page = BeautifulSoup(be_the_router(run, data).page, "html.parser")
    for share in told["shares"]:
        assert f"{share:.0f} %" in page.find(class_="dq-moving")["aria-label"]


def test_a_seed_decides_which_pictures(run, data):
    pages = [be_the_router(run, data, held=25, seed=seed).page for seed in (0, 0, 1)]
    assert pages[0] == pages[1] != pages[2]


@pytest.mark.parametrize(
    ("method", "options"), [("dqroute", {}), ("dqroute", {"gaussian": False, "judge": "training"}), ("sade", {})]
)
def test_others_than_three_experts_judged_out_of_fold_are_refused(method, options, data, tmp_path):
    other = dq.fit(method, data, runs_dir=tmp_path, **options, **SETTINGS)
    with pytest.raises(ValueError, match="gaussian=False"):
        be_the_router(other, data)


@pytest.mark.parametrize(
    ("name", "words"),
    [("l", "small l"), ("I", "capital I"), ("λ", "small lambda"), ("5", "digit five"), ("@", "commercial at"),
     ("otter", "otter")],
)  # fmt: skip
def test_look_alikes_have_names(name, words):
    assert spoken(name) == words
