"""The chapter's runs and the tool that makes them name the same runs."""

from __future__ import annotations

from build_book import RESULTS
from parts import TRAINING, asked, pictures

from dqroute.fitting import divide_changes, request_of
from dqroute.runs import folder_of


def test_each_published_run_is_one_that_the_tool_makes(tmp_path):
    """By the digest of all that decides a result; that of the images is asked of the images themselves."""
    named = {"worlds": set(), "told": set(), "parts": set()}
    for family, method, changes, correlation, seed in asked(range(3)):
        data = pictures(correlation, seed)
        settings, options = divide_changes(method, "laptop", TRAINING | changes)
        request = request_of(method, settings, options, seed, data.identity, vars(data.augmentation).copy())
        named[family].add(folder_of(tmp_path, request, data.name).name)
    for family, names in named.items():
        published = {path.name for path in (RESULTS / f"glyphs-{family}" / "glyphs").iterdir()}
        assert published and published <= names
