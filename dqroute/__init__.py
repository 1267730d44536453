"""DQRoute: long-tailed image recognition with difficulty-aware weights and experts that route themselves.

The whole path, from an image set to a prediction::

    import dqroute as dq

    data = dq.load("glyphs", imbalance=100, seed=0)
    run = dq.fit("dqroute", data, seed=0)
    report = dq.evaluate(run)
    run.model.predict(data.test.images[:5])

The names below are the public ones; each module holds one idea and is named after it.
"""

from dqroute import methods as methods  # fills METHODS
from dqroute.data import load, read_images
from dqroute.evaluate import evaluate
from dqroute.explanation import explain, nearest
from dqroute.fitting import fit
from dqroute.method import METHODS, Method, method_options, register
from dqroute.prediction import Prediction
from dqroute.report import Report
from dqroute.runs import Run, find_runs
from dqroute.serving import classify
from dqroute.train import NonFiniteLoss

__all__ = [
    "METHODS",
    "Method",
    "NonFiniteLoss",
    "Prediction",
    "Report",
    "Run",
    "classify",
    "evaluate",
    "explain",
    "find_runs",
    "fit",
    "load",
    "method_options",
    "nearest",
    "read_images",
    "register",
]
