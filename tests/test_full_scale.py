"""The GPU workflow's own steps on this processor: a corner of its grid, with tiny images and a single epoch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from build_book import RESULTS, ROOT

import dqroute as dq
from dqroute.models.cost import operations
from dqroute.runs.evaluate import trade_off_of
from dqroute.runs.published import read_published
from dqroute.sweep.grid import parse_grid, read_grid
from dqroute.training.settings import training_settings

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "gpu.yml").read_text(encoding="utf-8"))
# `on` is a truth value in the YAML that this reads.
GRID = ROOT / WORKFLOW[True]["workflow_dispatch"]["inputs"]["grid"]["default"]
METHODS = ["cross-entropy", "dqroute"]


def tiny_grid() -> str:
    """The workflow's grid on one small image set, with two of its methods, one seed and one epoch."""
    grid = yaml.safe_load(GRID.read_text(encoding="utf-8"))
    assert set(METHODS) <= set(grid["methods"])
    settings = [setting | {"epochs": 1, "precision": "fp32"} for setting in grid["settings"]]
    small = {"data": [{"digits": {"imbalance": 5, "n_max": 20}}], "methods": METHODS, "seeds": [0]}
    return yaml.safe_dump(grid | small | {"settings": settings})


def test_the_grid_is_sound_and_the_scheduled_one_is_the_same():
    tasks = read_grid(GRID)
    assert {task.load["name"] for task in tasks} >= {"cifar10", "cifar100"}
    assert {task.method for task in tasks} == {name for name, method in dq.METHODS.items() if method.trained}
    assert len({task.seed for task in tasks}) >= 3
    assert {task.fit["preset"] for task in tasks} == {"paper"}
    assert WORKFLOW["jobs"]["run"]["env"]["GRID"] == f"${{{{ inputs.grid || '{GRID.relative_to(ROOT).as_posix()}' }}}}"


def test_the_published_trainings_by_the_fields_schedule_are_by_the_preset():
    """All training images; one branch beside DQRoute in the form that costs as much."""
    found = read_published(RESULTS / "cifar-100-paper.jsonl.xz")
    assert {run.method for run in found} == {"logit-adjustment", "dqroute"}
    for run in found:
        changes = {"shared_depth": 3} if run.method == "dqroute" else {}
        assert run.settings["training"] == training_settings("paper", changes).decisive()
        # An option that is younger than the run is as the run was without it.
        now = dq.METHODS[run.method].settled(dq.method_options(run.method), None)
        assert now | run.settings["options"] == now
        assert sum(run.settings["problem"]["counts"]) == 10_847
    costs = [operations(run.new_model().network, (3, *run.new_model().size)) for run in found]
    assert costs[0] == pytest.approx(costs[1], rel=0.02)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the steps that call Python have run, as after `make env` in a checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "tools").symlink_to(ROOT / "tools")
    # No link: results are written there.
    (folder / "book").mkdir()
    shutil.copy(ROOT / "book" / "benchmark.ipynb", folder / "book")
    (folder / "tiny.yaml").write_text(tiny_grid(), encoding="utf-8")
    steps = [step["run"] for step in WORKFLOW["jobs"]["run"]["steps"] if ".venv/bin/python" in step.get("run", "")]
    assert len(steps) == 2
    environment = os.environ | {
        "GRID": "tiny.yaml",
        "DQROUTE_RUNS": str(folder / "runs"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    for step in steps:
        done = subprocess.run(["bash", "-e", "-c", step], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.posix
@pytest.mark.weekly
@pytest.mark.skipif(not shutil.which("timeout"), reason="the workflow's step takes coreutils' timeout")
def test_a_dry_run_of_the_workflow_publishes_every_run(checkout):
    tasks = parse_grid((checkout / "tiny.yaml").read_text(encoding="utf-8"))
    runs = read_published(checkout / "book" / "results" / "full_scale.jsonl.xz")
    asked = [(task.method, task.load["imbalance"]) for task in tasks]
    assert sorted((run.method, run.settings["data"]["imbalance"]) for run in runs) == sorted(asked)
    for run in runs:
        assert run.report().overall > 0
        assert trade_off_of(run)
    # The artifact of everything has the weights, the one that becomes a change has none.
    assert len(list((checkout / "runs").rglob("weights.safetensors"))) == len(runs)
    assert not list((checkout / "book").rglob("*.safetensors"))


def test_the_proposal_takes_what_was_published_to_the_books_results():
    uploads = {
        step["with"]["name"]: step["with"]["path"]
        for step in WORKFLOW["jobs"]["run"]["steps"]
        if "upload-artifact" in step.get("uses", "")
    }
    proposal = WORKFLOW["jobs"]["propose"]["steps"]
    (download,) = [step["with"] for step in proposal if "download-artifact" in step.get("uses", "")]
    assert download == {"name": "published", "path": "book/results"}
    assert uploads == {"published": "book/results/full_scale.jsonl.xz", "runs": "runs/"}
