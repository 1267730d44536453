"""A reader trains a classifier in the page: by mouse, finger and keys, and it comes out as in torch."""

import base64
import json

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from torch.nn import functional as F
from visiting import PHONE, serious_faults

import dqroute as dq
from dqroute.core.difficulty import class_difficulty
from dqroute.core.long_tail import exponential_counts
from dqroute.core.losses import log_prior, mean_one
from dqroute.show import live, train_it_yourself

pytestmark = [pytest.mark.slow, pytest.mark.browser]
ALT = "rare < frequent"
STILL = '<p id="still">What came of it.</p>'


@pytest.fixture(scope="module")
def pool():
    return dq.load("photographs", imbalance=10, groups="imbalance-100")


@pytest.fixture(scope="module")
def small(pool):
    """Trained in a moment."""
    return train_it_yourself(pool, STILL, ALT, components=8, test_images=2, epochs=2).page


def status(page):
    return page.locator(".dq-status").inner_text()


def bars(page):
    """The pixels of the upper left part of the canvas, where the bars of frequent classes rise."""
    return page.evaluate(
        "(() => { const c = document.querySelector('canvas');"
        "return [...c.getContext('2d').getImageData(40, 100, 150, 150).data].join() })()"
    )


def finished(page, runs):
    page.wait_for_function(f"document.querySelectorAll('.dq-table tbody tr').length === {runs}")
    page.wait_for_function("document.querySelector('button').textContent === 'Train'")
    # What was asked for in the last frame is drawn in the next.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_by_mouse_the_bars_rise_and_the_result_is_said(opened, small):
    page = opened(small)
    assert page.locator("#still").is_hidden() and "guess" in status(page)
    before = bars(page)
    slider = page.get_by_label("Your guess for the few").bounding_box()
    page.mouse.click(slider["x"] + slider["width"] / 4, slider["y"] + slider["height"] / 2)
    page.get_by_role("button", name="Train").click()
    finished(page, 1)
    assert bars(page) != before
    assert "you said 2" in status(page) and "overall" in status(page)
    said = page.locator("canvas").get_attribute("aria-label")
    assert all(name in said for name in ("many", "medium", "few", "overall"))
    assert serious_faults(page) == []


def test_by_keys_every_setting_counts_and_is_listed(opened, small):
    page = opened(small)
    for label, key in [
        *[("Imbalance", "Home"), ("Logit adjustment τ", "End"), ("Weight of rarity", "ArrowRight")],
        *[("Weight of difficulty", "End"), ("on training images", "ArrowRight"), ("Your guess for the few", "Home")],
    ]:
        page.get_by_label(label).focus()
        page.keyboard.press(key)
    page.get_by_role("button", name="Train").focus()
    page.keyboard.press("Enter")
    finished(page, 1)
    told = page.locator(".dq-table tbody td").first.inner_text()
    assert told == "imbalance 10, τ 2, rarity 0.1, difficulty 1 out of fold"
    assert "you said 0 %" in status(page) and "agree by" in status(page)
    page.get_by_role("button", name="Forget my points").focus()
    page.keyboard.press("Enter")
    assert page.locator(".dq-table").is_hidden() and status(page) == ""


@pytest.mark.parametrize("dark", [False, True])
def test_by_finger_on_a_phone(opened, small, dark):
    page = opened(small, PHONE, color_scheme="dark" if dark else "light", has_touch=True, is_mobile=True)
    page.get_by_label("Logit adjustment τ").tap()
    assert page.get_by_label("Logit adjustment τ").input_value() == "1"
    page.get_by_role("button", name="Train").tap()
    finished(page, 1)
    page.get_by_role("button", name="Train").tap()
    finished(page, 2)
    first, second = page.locator(".dq-table tbody tr").all_inner_texts()
    assert first.split()[1:] == second.split()[1:], "the same settings gave another result"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert serious_faults(page) == []


def test_training_is_stopped_and_started_anew(opened, pool):
    page = opened(train_it_yourself(pool, STILL, ALT, components=8, test_images=2, epochs=10_000).page)
    page.get_by_role("button", name="Train").click()
    page.get_by_role("button", name="Stop").click()
    assert status(page) == "Stopped." and page.locator(".dq-table").is_hidden()
    page.get_by_role("button", name="Train").click()
    assert page.get_by_role("button", name="Stop").is_visible()


def test_where_workers_are_forbidden_the_page_trains_itself(opened, small):
    page = opened("<script>delete window.Worker;</script>" + small)
    page.get_by_role("button", name="Train").click()
    finished(page, 1)
    assert "overall" in status(page)


def test_the_still_picture_stands_in_print_and_without_script(opened, small):
    page = opened(small)
    page.emulate_media(media="print")
    assert page.locator("#still").is_visible() and page.locator(".dq-live").is_hidden()
    page = opened(small, java_script_enabled=False)
    assert page.locator("#still").is_visible()


def worker(opened, figure):
    """A page that has the trainer's functions and the figure's data."""
    told = BeautifulSoup(figure, "html.parser").find("script", type="application/json").string
    files = [live.FOLDER / name for name in ("base.js", "softmax.js", "train_worker.js")]
    scripts = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return opened(f"<script>{scripts}\nconst DATA = dq.decode({told});</script>")


def test_its_formulas_are_those_of_the_core(opened, small):
    page = worker(opened, small)
    for imbalance in (10, 37, 100):
        counts = exponential_counts(500, 100, imbalance)
        assert page.evaluate(f"profile(500, 100, {imbalance})") == counts.tolist()
    entropy, accuracy = torch.tensor([0.5, 2.0, 1.0]), torch.tensor([0.9, 0.3, 0.0])
    hard = page.evaluate("difficulty([0.5, 2, 1], [0.9, 0.3, 0])")
    torch.testing.assert_close(torch.tensor(hard), class_difficulty(entropy, accuracy, lam=1))
    counts = torch.tensor([500.0, 50.0, 5.0])
    weights = page.evaluate(f"classWeights([500, 50, 5], 0.5, 2, {hard})")
    raw = counts.double() ** -0.5 * (2 * torch.tensor(hard)).double().exp()
    torch.testing.assert_close(torch.tensor(weights), mean_one(raw, counts))


@pytest.mark.parametrize(
    "told", [{"tau": 1}, {"rarity": 0.5}, {"tau": 1, "gamma": 2}, {"tau": 1, "gamma": 2, "folds": 3}]
)
def test_it_is_right_as_often_as_the_same_training_in_torch(opened, pool, told):
    """Only the first weights and the order of the images differ."""
    figure = train_it_yourself(pool, STILL, ALT, components=32, epochs=3)
    page = worker(opened, figure.page)
    settings = {"tau": 0, "rarity": 0, "gamma": 0, "folds": 0, "imbalance": 100, "epochs": 3} | told
    accuracy = page.evaluate("(set) => [...train({ ...DATA, ...set })].at(-1).accuracy", settings)
    expected = trained(**arrays(figure.page), **settings)
    few = pool.groups.of_class() == 2
    found = torch.tensor(accuracy)
    # Of other first weights a point of 3,000 images, and twice that of the 900 of rare classes, is to be had.
    assert abs(found.mean() - expected.mean()) < 1.5 and abs(found[few].mean() - expected[few].mean()) < 3


def arrays(figure):
    """The pictures and labels that the page holds."""
    told = json.loads(BeautifulSoup(figure, "html.parser").find("script", type="application/json").string)
    held = {name: told[name] for name in ("train", "labels", "test", "testLabels")}
    return {
        name: torch.from_numpy(np.frombuffer(base64.b64decode(one["base64"]), one["dtype"]).astype("int64"))
        for name, one in held.items()
    }


def trained(train, labels, test, testLabels, tau, rarity, gamma, folds, imbalance, epochs):  # noqa: N803
    """Accuracy of each class, %, of the same classifier trained by autograd and torch's Adam."""
    counts = exponential_counts(500, 100, imbalance)
    place = torch.cat([torch.arange(n) for n in labels.bincount().tolist()])
    kept = place < counts[labels]
    x, y, fold = F.normalize(train.view(len(labels), -1).float()[kept], dim=1), labels[kept], place[kept]
    random = torch.Generator().manual_seed(0)
    weight = (torch.randn(folds + 1, 100, x.shape[1], generator=random) / x.shape[1] ** 0.5).requires_grad_()
    adam = torch.optim.Adam([weight], lr=0.02)
    steps = epochs * -(-len(y) // 128)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    hard, sets = torch.zeros(100), torch.arange(folds + 1)
    for _ in range(epochs):
        weights = mean_one(counts.double() ** -rarity * (gamma * hard.double()).exp(), counts)
        said = torch.zeros(len(y), 100)
        for batch in torch.randperm(len(y), generator=random).split(128):
            logits = 20 * torch.einsum("bd,scd->bsc", x[batch], F.normalize(weight, dim=2))
            out = 1 + fold[batch] % folds if folds else torch.full_like(batch, -1)
            adjusted = (logits + tau * log_prior(counts)).movedim(2, 1)
            losses = F.cross_entropy(adjusted, y[batch, None].expand(-1, len(sets)), reduction="none")
            (losses * weights[y[batch]][:, None] * (sets != out[:, None])).sum().div(len(batch)).backward()
            adam.step()
            schedule.step()
            adam.zero_grad()
            said[batch] = logits.detach()[torch.arange(len(batch)), out].log_softmax(dim=1)
        entropy = -(said.exp() * said).sum(dim=1)
        right = (said.argmax(dim=1) == y).float()
        by_class = [torch.zeros(100).index_add_(0, y, v) / counts for v in (entropy, right)]
        hard = class_difficulty(*by_class, lam=1)
    found = F.normalize(test.view(len(testLabels), -1).float(), dim=1) @ F.normalize(weight[0].detach(), dim=1).T
    right = (found.argmax(dim=1) == testLabels).float()
    return 100 * torch.zeros(100).index_add_(0, testLabels, right) / testLabels.bincount()
