"""The fit of DQRoute for everybody: for DQRoute itself it is the one that it has."""

import pytest
import same_fit
import torch

from dqroute.data.feature_set import features
from dqroute.measures.accuracy import accuracies


@pytest.fixture
def seen(tiny):
    return features(tiny, "gradient-histograms", progress=False)


def test_the_fit_on_its_experts_is_what_dqroute_has_anyway(seen, runs_dir):
    found = same_fit.measured(seen, "dqroute", {"epochs": 2}, 0, runs_dir)
    (run,) = same_fit.dq.find_runs(runs_dir)
    own = accuracies(run.model.predict(seen.test).label, seen.test.labels, seen.groups)
    fitted = found["DQRoute's fit on the experts"]
    assert fitted == pytest.approx({name: own[name] for name in fitted})


def test_the_nested_sets_are_all_classes_medium_and_few_and_few(seen):
    group = seen.groups.of_class()
    sets = same_fit.nested(seen)
    assert torch.equal(sets.sum(dim=0) - 1, group) and (sets[0] >= sets[1]).all() and (sets[1] >= sets[2]).all()


def test_the_table_tells_what_a_fit_adds_to_the_calibrated_mean():
    row = dict.fromkeys(same_fit.SHOWN, 0.5)
    draws = [{"calibrated": row, "DQRoute's fit": {name: 0.52 + 0.01 * k for name in row}} for k in range(3)]
    told = same_fit.table({"ldam": same_fit.by_way(draws)})
    assert "53.0 (+3.00 ± 2.48)" in told and "50.0 (+0.00 ± 0.00)" in told
