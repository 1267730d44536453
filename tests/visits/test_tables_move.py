"""Figures that look up what they show, in a real browser: by keys, by pointer, on dark ground."""

import matplotlib.pyplot as plt
import pytest
import torch
from visiting import PHONE, check_keys, check_pointer, serious_faults

from dqroute import show
from dqroute.show import Choice, Slider

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def drawn(height):
    figure, (ax,) = show.new_figure()
    ax.bar([0, 1], [1, height])
    return figure, f"The second bar is {height} high."


@pytest.fixture(scope="module")
def moving():
    return show.moving(drawn, height=Slider("height", [1, 2, 5], start=2)).static


def part_of(page):
    return page.locator(".dq-live:has(.table-drawing)")


def test_keys_reach_every_drawing(opened, moving):
    page = opened(moving)
    assert part_of(page).locator(".dq-status").inner_text() == "The second bar is 2 high."
    check_keys(part_of(page))
    assert serious_faults(page) == [] and page.locator(".dq-still").count() == 0
    page.set_viewport_size({"width": PHONE, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_a_choice_is_made(opened):
    page = opened(show.moving(lambda of: (f"<b>{of}</b>", f"It is {of}."), of=Choice("which", ["one", "other"])).static)
    page.get_by_label("other").check()
    assert part_of(page).locator(".table-drawing").inner_text() == "other"
    assert part_of(page).locator(".dq-status").inner_text() == "It is other."


def test_points_answer_to_a_pointer(opened):
    figure, ax = plt.subplots(figsize=(5, 3))
    places = torch.tensor([[float(k), float(k * k % 7)] for k in range(6)])
    ax.plot(*places.T.tolist(), "o")
    images = torch.arange(6 * 64).reshape(6, 1, 8, 8).to(torch.uint8)
    page = opened(show.hover(figure, places, images, [f"point {k}" for k in range(6)], "six points", "point").static)
    check_keys(part_of(page))
    check_pointer(page, part_of(page))


def test_drawings_are_turned_over_in_a_dark_notebook(opened, moving):
    page = opened(moving)
    drawing = part_of(page).locator("svg")
    assert drawing.evaluate("e => getComputedStyle(e).filter") == "none"
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert "invert" in drawing.evaluate("e => getComputedStyle(e).filter")


def test_on_paper_a_drawing_stays_and_its_controls_go(opened, moving):
    page = opened(moving)
    page.emulate_media(media="print")
    assert part_of(page).locator("svg").is_visible() and not part_of(page).locator("input").is_visible()
