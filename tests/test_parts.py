"""The chapter's runs and the tool that makes them name the same runs."""

from __future__ import annotations

from build_book import RESULTS
from parts import PHOTOGRAPHED, TRAINING, asked, pictures

import dqroute as dq
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


def test_each_published_change_on_photographs_is_one_that_the_tool_makes():
    """All else is that of the published run as it is, of the same seed."""
    whole = {run.seed: run.settings for run in dq.find_runs(RESULTS / "cifar-100") if run.method == "dqroute"}
    changed = dq.find_runs(RESULTS / "photographs-parts" / "cifar-100")
    assert changed
    for run in changed:
        own, base = run.settings, whole[run.seed]
        assert {k: v for k, v in own["options"].items() if v != base["options"][k]} in PHOTOGRAPHED
        kept = ("method", "training", "data", "augmentation", "problem")
        assert {name: own[name] for name in kept} == {name: base[name] for name in kept}
