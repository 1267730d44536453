"""What a worker does: a run that is there is found by its digest, before any kernel."""

from dataclasses import replace

import pytest

import dqroute as dq
from dqroute.data import DATA_SETS
from dqroute.sweep.grid import parse_grid
from dqroute.sweep.worker import carry_out, find
from dqroute.training.request import known_of


@pytest.fixture
def tasks(monkeypatch, tiny):
    """A grid on the tests' own image set: two methods, one with an option and a setting of its own."""

    def tiny_set(*, imbalance: float | None = None, seed: int = 0, groups: str = "auto", val: float | None = None):
        return tiny

    monkeypatch.setitem(DATA_SETS, "tiny", tiny_set)
    return parse_grid(
        """
        data: [tiny]
        methods: [cross-entropy, logit-adjustment: {tau: 0.5}]
        settings: [{epochs: 1, batch_size: 64, precision: fp32, lr: 0.05}]
        """
    )


def test_a_run_is_found_as_fit_names_it_and_only_when_it_is_evaluated(tasks, tiny, runs_dir):
    _, task = tasks
    known = known_of(tiny)
    assert find(task, known, runs_dir) is None
    settings = {"epochs": 1, "batch_size": 64, "precision": "fp32", "lr": 0.05}
    run = dq.fit("logit-adjustment", tiny, tau=0.5, runs_dir=runs_dir, device="cpu", progress=False, **settings)
    assert find(task, known, runs_dir) is None
    dq.evaluate(run, device="cpu")
    assert find(task, known, runs_dir).folder == run.folder
    # No client, no kernel and no notebook are needed for it.
    assert carry_out(task, known, runs_dir / "none.ipynb", runs_dir / "out.ipynb", runs_dir) == (run.folder, True)
    assert not (runs_dir / "out.ipynb").exists()


def test_another_option_setting_seed_or_image_is_another_run(tasks, tiny, runs_dir):
    """Every part of a task counts: change one, and the run that is there is not the one asked for."""
    task, _ = tasks
    known = known_of(tiny)
    run = dq.fit("cross-entropy", tiny, runs_dir=runs_dir, device="cpu", progress=False, **task.fit)
    dq.evaluate(run, device="cpu")
    assert find(task, known, runs_dir)
    assert find(replace(task, split="val"), known, runs_dir) is None
    assert find(replace(task, seed=1), known, runs_dir) is None
    assert find(replace(task, method="ride"), known, runs_dir) is None
    assert find(replace(task, fit=task.fit | {"lr": 0.1}), known, runs_dir) is None
    assert find(replace(task, fit=task.fit | {"classifier": "cosine"}), known, runs_dir) is None
    assert find(task, known._replace(identity=known.identity | {"version": 2}), runs_dir) is None
    assert find(task, known._replace(augmentation={}), runs_dir) is None
