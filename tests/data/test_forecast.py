"""How long features take is said in words; once they are known, that."""

import itertools

import pytest

from dqroute.data import features
from dqroute.data.feature_set import BATCH
from dqroute.data.forecast import duration, features_take


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "1 second"), (8.4, "8 seconds"), (80, "80 seconds"), (150, "2.5 minutes"), (2700, "45 minutes"),
     (9000, "2.5 hours")],
)  # fmt: skip
def test_durations(seconds, said):
    assert duration(seconds) == f"about {said}"


def test_measured_once_known_afterwards(tiny, monkeypatch):
    # A machine on which any number of pictures at a time takes a second, however busy this one is.
    ticks = itertools.count()
    monkeypatch.setattr("dqroute.data.forecast.perf_counter", lambda: float(next(ticks)))
    number = sum(map(len, tiny.splits.values()))
    monkeypatch.setattr("dqroute.data.forecast.workers_of", lambda _: 2)
    said = f"their features take {duration(number / (2 * BATCH))} here"
    assert len(tiny.train) >= 2 * BATCH and features_take(tiny, "gradient-histograms") == said
    features(tiny, "gradient-histograms", progress=False)
    assert features_take(tiny, "gradient-histograms") == "their features are known already"
