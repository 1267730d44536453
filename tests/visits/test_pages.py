"""A reader visits every page of the book."""

import pytest
from visiting import PAGES, check_page, check_search

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.mark.parametrize("path", PAGES)
def test_a_reader_visits_a_page(visit, path):
    check_page(visit, path)


def test_a_reader_searches(visit):
    check_search(visit)


def test_a_page_is_printed_light_and_whole(visit):
    page = visit("book/knob.html")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    folds = page.locator("article details")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert folds.evaluate_all("all => all.every(fold => fold.open)")
    solution = page.locator(".cell.tag_hide-cell .cell_input").first
    assert solution.is_visible() and solution.evaluate("e => getComputedStyle(e).opacity") == "1"
    assert not page.locator("article .cell.tag_hide-input .cell_input").first.is_visible()
    assert page.locator(".dq-still").first.is_visible() and not page.locator(".dq-live").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folds.evaluate_all("all => all.every(fold => !fold.open)")
    assert page.locator("html").get_attribute("data-theme") == "dark"
