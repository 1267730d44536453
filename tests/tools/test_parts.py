"""The chapter's runs and the tool that makes them name the same runs."""

from __future__ import annotations

import pytest
from build_book import RESULTS
from parts import FAMILIES, KNOWING, ONE_NETWORK, PHOTOGRAPHED, TRAINING, WIDE, asked, pictures

import dqroute as dq
from dqroute.methods.base import METHODS
from dqroute.models.cost import operations, parameter_count
from dqroute.runs.run import folder_of
from dqroute.training.fit import divide_changes, request_of


def test_each_published_run_is_one_that_the_tool_makes(tmp_path, monkeypatch):
    """By the digest of all that decides a result; that of the images is asked of the images themselves."""
    for name, knowing in KNOWING.items():
        monkeypatch.setitem(METHODS, name, knowing)
    named = {family: set() for family in FAMILIES}
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


def test_the_published_rival_is_as_large_as_three_experts():
    """A focused branch, wide, trained as the published run of the same seed that is not."""
    narrow = {run.seed: run.settings for run in dq.find_runs(RESULTS / "cifar-100") if run.method == "focused"}
    three = next(run for run in dq.find_runs(RESULTS / "cifar-100") if run.method == "dqroute")
    rivals = dq.find_runs(RESULTS / "photographs-rivals" / "cifar-100")
    assert rivals
    for run in rivals:
        own, base = run.settings, narrow[run.seed]
        assert own["training"] == base["training"] | WIDE
        assert all(own[name] == base[name] for name in ("method", "options", "data", "augmentation"))
        models = run.new_model(), three.new_model()
        sizes = [(operations(m.network, (3, *m.size)), parameter_count(m)) for m in models]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@pytest.mark.parametrize(
    ("folder", "rivals"),
    [("photographs-shared/cifar-100", "cifar-100"), ("photographs-50-shared/cifar-100", "cifar-100-50")],
)
def test_the_published_networks_that_are_shared_whole_cost_what_three_branches_cost_or_one(folder, rivals):
    """Each network that the tool names, from three seeds, on the images of the other runs; the options as they are."""
    others = {(run.method, run.seed): run for run in dq.find_runs(RESULTS / rivals)}
    found = dq.find_runs(RESULTS / folder)
    named = []
    for run in found:
        own, base = run.settings, others["logit-adjustment", run.seed].settings
        changes = {k: v for k, v in own["training"].items() if v != base["training"][k]}
        assert own["options"] == dq.method_options(run.method)
        assert all(own[name] == base[name] for name in ("data", "augmentation"))
        alike = others["dqroute" if "branch_width" in changes else "logit-adjustment", run.seed]
        sizes = [operations(r.new_model().network, (3, *r.new_model().size)) for r in (run, alike)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
        named.append((run.method, changes, run.seed))
    wanted = [(method, changes, seed) for method, changes in ONE_NETWORK for seed in range(3)]
    assert sorted(named, key=str) == sorted(wanted, key=str)
