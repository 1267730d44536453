"""The benchmarks of the engine run, and what they report hangs together. Speeds themselves are not judged here."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import gpu
import measure
import pytest
import torch
from method_cost import method_cost

import dqroute as dq
from dqroute.data.disk import read_json
from dqroute.runs.published import read_published
from dqroute.training.loop import Training
from dqroute.training.settings import Settings

pytestmark = pytest.mark.weekly
ROOT = Path(__file__).parents[2]
SMALL = {"backbone": "resnet8", "batch_size": 64, "epochs": 2, "warmup": 0.0, "compile": False}


def test_the_methods_own_work_is_a_part_of_the_step(monkeypatch):
    """The tracker's 2 ms, the joint loss's 30 less the plain one's 10, and 1 ms for each of an epoch's 85 steps."""
    told = iter([2.0, 100.0, 30.0, 10.0, 85.0])
    monkeypatch.setattr("method_cost.milliseconds", lambda work, *rest, **named: (work(), next(told))[1])
    cost = method_cost(10, batch_size=16, backbone="resnet8")

    assert cost["own_ms"] == pytest.approx(23) and cost["share"] == pytest.approx(0.23)


def test_the_methods_own_work_as_measured_is_a_part_of_the_step():
    cost = method_cost(10, batch_size=16, backbone="resnet8")
    assert cost["step_ms"] > 0 and cost["share"] == cost["own_ms"] / cost["step_ms"]


@pytest.mark.parametrize(
    ("precision", "matrices", "name"),
    [("fp32", True, "fp32"), ("bf16", True, "bf16-amx"), ("bf16", False, "bf16-avx512")],
)
def test_a_result_is_named_after_what_multiplies(monkeypatch, precision, matrices, name):
    monkeypatch.setattr("timing.PRECISION", precision)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrices, raising=False)
    assert measure.unit() == name
    assert (measure.RESULTS / f"engine-{name}.json").is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a child's peak begins with its parent's on Linux")
def test_the_peak_of_a_process_is_not_that_of_its_parent():
    """The parent takes 1.2 GB more than the child, whose imports take most of what it has."""
    ballast = b"x" * (1200 * 2**20)
    command = [sys.executable, "-c", "from timing import peak_mib; print(peak_mib())"]
    done = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True)
    assert 10 < float(done.stdout) < measure.peak_mib() - len(ballast) / 2**21


def test_the_protocol_is_rehearsed_where_there_is_no_gpu(tmp_path):
    """Each method once, two at a time; called again, it finds them and publishes the same."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "digits", "--imbalance", "5", "--minutes", "60"]
    command += ["--seeds", "1", "--at-once", "2", "--epochs", "2", "--device", "cpu", "--runs-dir", "runs"]
    command += ["--output", "table.jsonl.xz", "--speed", "speed.json", "--set", "batch_size=64", "backbone=resnet8"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for again in (False, True):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "4 runs finished of 4" in done.stdout
        assert all(re.search(rf"^{method} .*\d", done.stdout, re.MULTILINE) for method in gpu.METHODS)
        found = read_published(tmp_path / "table.jsonl.xz")
        assert [run.method for run in found] == sorted(gpu.METHODS)
        told = read_json(tmp_path / "speed.json")
        assert told["steps_per_second_unwatched"] > 0
        if not again:
            assert 0 < told["share_of_ceiling"] < 1 and told["images_per_second"] > 0


def test_torch_is_told_to_raise_where_a_step_waits_for_the_gpu(tiny, runs_dir, quick, monkeypatch):
    """During the steps, and no longer than that."""
    modes = []
    run = dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, **quick)
    training = Training(run, run.new_model(), tiny, Settings(**run.settings["training"]), torch.device("cpu"))
    step = training.step

    def watched(*arguments):
        modes.append("step")
        # From here on the device counts as a GPU, on which the mode is set.
        training.device = torch.device("cuda")
        return step(*arguments)

    monkeypatch.setattr(training, "step", watched)
    monkeypatch.setattr(gpu, "wait_for", lambda device: None)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr("dqroute.training.loop.precision_context", lambda precision, device: nullcontext())
    gpu.steps_without_waiting(training, steps=4)
    assert modes == ["step"] * 3 + ["error"] + ["step"] * 4 + ["default"]


def test_reference_and_engine_are_compared(monkeypatch):
    """The smallest case, as `make bench` measures it, on few images."""
    monkeypatch.setattr(measure, "JOBS", ("training", "inference"))
    training, inference = measure.compare("ResNet-32, one branch", images=256, rounds=1, limit=1000.0)
    assert (training["job"], inference["job"]) == ("training", "inference")
    for row in (training, inference):
        assert all(value > 0 for side in ("reference", "engine", "ratio") for value in row[side].values())
        assert "×" in measure.in_words(row) and row["share_of_ceiling"] > 0
