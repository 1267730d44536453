"""Readers route pictures and deal worlds, by mouse, by touch, by keys; the page's numbers are Python's."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F
from visiting import PHONE, serious_faults

import dqroute as dq
from dqroute.core.difficulty import DifficultyTracker
from dqroute.data.sets.glyphs import order_by_difficulty, true_difficulty
from dqroute.show import be_the_router, deal_the_world

pytestmark = [pytest.mark.slow, pytest.mark.browser]
SMALL = {"seed": 0, "backbone": "gradient-histograms", "test_per_class": 10, "size": 16}
SETTINGS = {"seed": 0, "progress": False, "device": "cpu", "epochs": 5}


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    data = dq.load("glyphs", imbalance=20, n_max=20, **SMALL)
    run = dq.fit("dqroute", data, gaussian=False, runs_dir=tmp_path_factory.mktemp("runs"), **SETTINGS)
    return be_the_router(run, data, held=30).page


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    pool, data = (dq.load("glyphs", imbalance=r, n_max=40, **SMALL) for r in (1, 20))
    run = dq.fit("logit-adjustment", data, runs_dir=tmp_path_factory.mktemp("runs"), **SETTINGS)
    return deal_the_world(pool, data, run, components=48, epochs=20).page


def told(page):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def scores(page):
    """What stands beside the reader and each router: how many are right."""
    return [int(text.split()[0]) for text in page.locator(".router-scores td:last-child").all_inner_texts()]


def ways(page, way):
    """How a reader believes an expert, and goes on."""
    experts, onward = page.locator(".router-expert"), page.locator(".router-next")
    if way == "keys":
        page.locator(".router-expert").first.focus()
        return lambda k: page.keyboard.press(str(k + 1)), lambda: page.keyboard.press("Enter")
    if way == "touch":
        return lambda k: experts.nth(k).tap(), onward.tap
    return lambda k: experts.nth(k).click(), onward.click


@pytest.mark.parametrize("way", ["mouse", "touch", "keys"])
def test_a_round_is_scored_as_python_scores_it(way, router, opened):
    page = opened(router, PHONE if way == "touch" else 900, has_touch=way == "touch")
    data, choices = told(router), [(7 * i + i // 3) % 3 for i in range(20)]
    believe, go_on = ways(page, way)
    right = np.zeros((20, 5), dtype=int)
    for i, (picture, k) in enumerate(zip(data["pictures"], choices, strict=False)):
        assert page.locator(".router-head img").get_attribute("src") == picture["image"]
        assert page.locator(".router-count").inner_text() == f"Picture {i + 1} of 20"
        believe(k)
        answers = [picture["says"][k], *picture["answers"]]
        right[i] = [answer == picture["truth"] for answer in answers] + [picture["truth"] in picture["says"]]
        assert scores(page) == right.sum(axis=0).tolist()
        if i < 19:
            go_on()
    you, mean, fooled, honest, known = right.sum(axis=0)
    said = page.locator(".dq-status").last.inner_text()
    assert f"You are right on {you} of 20" in said and f"the plain mean on {mean}" in said
    assert f"on training images on {fooled}, out of fold on {honest};" in said and f"an oracle, on {known}" in said
    go_on()
    assert scores(page) == [0] * 5
    # Ten of the thirty are left; then they begin anew.
    assert page.locator(".router-head img").get_attribute("src") == data["pictures"][20]["image"]


def test_an_expert_is_believed_once(router, opened):
    page = opened(router)
    page.locator(".router-expert").first.click()
    page.keyboard.press("2")
    assert page.locator(".believed").count() == 1 and page.locator(".router-expert:disabled").count() == 3
    assert scores(page)[0] <= 1 and "of 1" in page.locator(".router-scores td:last-child").first.inner_text()


def arrays(data):
    return [
        torch.from_numpy(
            np.frombuffer(base64.b64decode(data[part]["base64"]), np.int8).reshape(data[part]["shape"]).copy()
        )
        for part in ("pool", "test")
    ]


def correlations(data, counts):
    """The page's training anew in torch: rank correlations of tracked difficulty with test error, by both judges."""
    torch.manual_seed(0)
    pool, test = (F.normalize(part.float(), dim=1) for part in arrays(data))
    classes, folds = len(counts), 5
    labels, tested = (torch.arange(classes).repeat_interleave(len(part) // classes) for part in (pool, test))
    place = torch.arange(len(pool)) % (len(pool) // classes)
    x, y = pool[place < counts[labels]], labels[place < counts[labels]]
    sets, judge = torch.arange(folds + 1)[:, None], 1 + torch.arange(len(y)) % folds
    weight = (torch.randn(folds + 1, classes, pool.shape[1]) / pool.shape[1] ** 0.5).requires_grad_()
    prior = (counts / counts.sum()).log()
    steps = data["epochs"] * -(-len(y) // 64)
    optimizer = torch.optim.Adam([weight], lr=0.006)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    trackers = [DifficultyTracker(classes) for _ in range(2)]
    for _ in range(data["epochs"]):
        for batch in torch.randperm(len(y)).split(64):
            z = 20 * torch.einsum("bd,scd->sbc", x[batch], F.normalize(weight, dim=2)) + prior
            nll = -z.log_softmax(dim=2)[:, torch.arange(len(batch)), y[batch]]
            optimizer.zero_grad()
            ((nll * (sets != judge[batch])).sum() / len(batch)).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            z, all_test = (20 * torch.einsum("bd,scd->sbc", part, F.normalize(weight, dim=2)) for part in (x, test))
            for tracker, logits in zip(trackers, (z[0], z[judge, torch.arange(len(y))]), strict=True):
                tracker.observe(logits.log_softmax(dim=1), y)
                tracker.end_epoch()
    wrong = (all_test[0].argmax(dim=1) != tested).view(classes, -1).double().mean(dim=1)
    return [float(spearmanr(tracker.difficulty, wrong).statistic) for tracker in trackers]


def dealt(page):
    """How many training images each character has."""
    return torch.tensor([int(re.search(r", (\d+) ", text)[1]) for text in page.locator("option").all_inner_texts()])


def number(page):
    return float(page.locator(".deal-now output").inner_text().replace("−", "-"))


def test_worlds_are_dealt_as_python_deals_them_and_a_tracker_judges_as_there(world, opened):
    page, data = opened(world), told(world)
    slider = page.get_by_role("slider", name="correlation")
    for r, keys in ((0, []), (0.03, ["ArrowRight"] * 3), (-1, ["Home"]), (1, ["End"])):
        for key in keys:
            slider.press(key)
        counts = torch.empty(100, dtype=torch.int64)
        counts[order_by_difficulty(true_difficulty(), r, 0)] = torch.tensor(data["counts"])
        # A tie of two ranks may fall otherwise in 32 bits.
        assert (dealt(page) != counts).sum() <= 2
    train = page.get_by_role("button", name="train")
    assert train.is_disabled(), "a reader guesses first"
    page.get_by_role("slider", name="your guess").press("ArrowRight")
    train.press("Enter")
    page.get_by_role("button", name="train", exact=True).wait_for()
    found = [number(page)]
    page.get_by_role("radio", name="out of fold").press("Space")
    found.append(number(page))
    expected = correlations(data, dealt(page))
    assert found == pytest.approx(expected, abs=0.12)
    assert found[0] < -0.2 and found[1] > 0.5
    said = page.locator(".dq-status").inner_text()
    assert "you said 11" in said and page.locator(".deal-now output").inner_text() in said
    turn = int(re.search(r"turned round at epoch (\d+)", said)[1])
    # The epochs can be gone back to, and a new world has none.
    epoch = page.get_by_role("slider", name="epoch", exact=True)
    epoch.press("Home")
    assert page.locator(".deal-now output").inner_text() == "?"
    page.get_by_role("radio", name="on training images").press("Space")
    for k in range(1, turn + 1):
        epoch.press("ArrowRight")
        assert (number(page) < 0) == (k == turn)
    slider.press("ArrowLeft")
    epoch.press("End")
    assert epoch.input_value() == "0"


@pytest.mark.parametrize("way", ["mouse", "touch"])
def test_a_tile_answers_to_a_pointer(way, world, opened):
    page = opened(world, PHONE, has_touch=True)
    chosen = page.locator("select")
    before, box = chosen.input_value(), page.locator(".deal-table canvas").first.bounding_box()
    for y in range(40, 300, 12):
        at = box["x"] + box["width"] / 2, box["y"] + y
        if way == "touch":
            page.touchscreen.tap(*at)
        else:
            page.mouse.move(*at)
        if chosen.input_value() != before:
            break
    c = int(chosen.input_value())
    assert c != int(before) and page.locator(".deal-one").inner_text().startswith(f"{told(world)['names'][c]}: rank")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["router", "world"])
def test_everyone_can_read_it(name, scheme, request, opened):
    figure = request.getfixturevalue(name)
    page = opened(figure, PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert serious_faults(page) == []
    page.emulate_media(media="print")
    assert page.locator(".dq-still svg").is_visible() and not page.locator(".dq-live").is_visible()


@pytest.mark.parametrize("name", ["router", "world"])
def test_without_a_script_the_still_picture_stands(name, request, opened):
    page = opened(request.getfixturevalue(name), java_script_enabled=False)
    assert page.locator(".dq-still svg").is_visible()
