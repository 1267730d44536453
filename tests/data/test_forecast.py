"""How long features take is said in words; once they are known, that."""

import re

import pytest

from dqroute.data import features
from dqroute.data.forecast import duration, features_take


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "1 second"), (8.4, "8 seconds"), (80, "80 seconds"), (150, "2.5 minutes"), (2700, "45 minutes"),
     (9000, "2.5 hours")],
)  # fmt: skip
def test_durations(seconds, said):
    assert duration(seconds) == f"about {said}"


def test_measured_once_known_afterwards(tiny):
    assert re.fullmatch(r"their features take about \d+ seconds? here", features_take(tiny, "gradient-histograms"))
    features(tiny, "gradient-histograms", progress=False)
    assert features_take(tiny, "gradient-histograms") == "their features are known already"
