"""DQRoute: long-tailed image recognition with difficulty-aware weights and experts that route themselves.

The whole path, from an image set to a prediction::

    import dqroute as dq

    data = dq.load("glyphs", imbalance=100, seed=0)
    run = dq.fit("dqroute", data, seed=0)
    report = dq.evaluate(run)
    run.model.predict(data.test.images[:5])

The names below are the public ones. Behind them are nine rooms, each of which imports only from those before it:
``core``, ``measures``, ``models``, ``data``, ``methods``, ``runs``, ``training``, ``sweep``, ``show``; a file holds one
idea and is named after it. For a training loop of one's own, :mod:`dqroute.core` is all there is to import.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if "torch" not in sys.modules:
    # Threads that wait for each other by spinning bring a training to a stand where cores are shared. OpenMP reads this
    # once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from dqroute.data import load, read_images
    from dqroute.methods import METHODS, Method, Prediction, method_options, register
    from dqroute.runs.classify import classify
    from dqroute.runs.evaluate import evaluate
    from dqroute.runs.explain import explain, nearest
    from dqroute.runs.export import export
    from dqroute.runs.report import Report
    from dqroute.runs.run import Run, find_runs
    from dqroute.training.fit import fit

ROOMS = ("core", "measures", "models", "data", "methods", "runs", "training", "sweep", "show")
# Where the public names stand. They are loaded when they are asked for, so that nobody waits for what they don't use.
PUBLIC = {
    "METHODS": "methods",
    "Method": "methods",
    "Prediction": "methods",
    "Report": "runs.report",
    "Run": "runs.run",
    "classify": "runs.classify",
    "evaluate": "runs.evaluate",
    "explain": "runs.explain",
    "export": "runs.export",
    "find_runs": "runs.run",
    "fit": "training.fit",
    "load": "data",
    "method_options": "methods",
    "nearest": "runs.explain",
    "read_images": "data",
    "register": "methods",
}
__all__ = [
    "METHODS",
    "Method",
    "Prediction",
    "Report",
    "Run",
    "classify",
    "evaluate",
    "explain",
    "export",
    "find_runs",
    "fit",
    "load",
    "method_options",
    "nearest",
    "read_images",
    "register",
]


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return importlib.import_module(f"dqroute.{name}")
    if name in PUBLIC:
        value = getattr(importlib.import_module(f"dqroute.{PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dqroute' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*PUBLIC, *ROOMS))
