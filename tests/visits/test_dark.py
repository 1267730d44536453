"""A reader who likes dark pages visits every page of the book."""

import pytest
from visiting import PAGES, check_page, check_search

SCHEME = "dark"
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.mark.parametrize("path", PAGES)
def test_a_reader_visits_a_page(visit, path):
    check_page(visit, path)


def test_a_reader_searches(visit):
    check_search(visit)
