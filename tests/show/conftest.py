"""Figures are drawn without a window, and closed after each test."""

import matplotlib
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def closed():
    assert matplotlib.get_backend().lower() == "agg"
    yield
    plt.close("all")
