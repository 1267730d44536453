"""Several real processes train what one process trains, to rounding."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_locking import until
from torch import nn
from training import LOOPBACK, run_in, start_together

import dqroute as dq
from dqroute.data.batches import share_of
from dqroute.runs.locking import LOCK
from dqroute.training.distribution import Processes, over_all_processes

# Neither 37 nor the last batch's 11 divide by two or three; few steps, because rounding grows from step to step.
SETTINGS = {"epochs": 2, "batch_size": 37, "lr": 0.02, "warmup": 0, "optimizer": "sgd"}
RUNS = [
    ("dqroute", SETTINGS | {"start": 0.5, "detector": "linear", "alpha": 1.0}, 1e-5),
    # Its loss is divided by the sum of the batch's weights.
    ("class-balanced", SETTINGS | {"start": 0.0}, 1e-5),
    # Muon computes its direction in bfloat16, which makes rounding a thousand times as large.
    ("ride", SETTINGS | {"optimizer": "muon", "epochs": 1}, 1e-2),
]


def end(processes, codes, seconds=300):
    for process in processes:
        process.join(seconds)
    assert [process.exitcode for process in processes] == codes


def folder_of(method, folder):
    (found,) = folder.glob(f"tiny/{method}-*")
    return dq.Run(found)


def assert_alike(a, b, tolerance):
    """Equal records and weights but for rounding."""
    for mine, other in zip(a.epochs, b.epochs, strict=True):
        assert mine.keys() == other.keys()
        assert mine["loss"] == pytest.approx(other["loss"], rel=tolerance)
        assert mine["accuracy"] == pytest.approx(other["accuracy"], abs=0.01)  # one image of 159 on the fence
        for name in ("difficulty", "class_weights"):
            assert mine.get(name, []) == pytest.approx(other.get(name, []), rel=1e-4)
    for name, value in a.model.state_dict().items():
        torch.testing.assert_close(value, b.model.state_dict()[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.posix
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_give_the_numbers_of_one(count, tiny, tmp_path, quick):
    processes = start_together(count, tmp_path / "several", [(method, settings) for method, settings, _ in RUNS])
    alone = [dq.fit(method, tiny, runs_dir=tmp_path / "one", **quick | settings) for method, settings, _ in RUNS]
    end(processes, [0] * count)
    for one, (name, _, tolerance) in zip(alone, RUNS, strict=True):
        several = folder_of(name, tmp_path / "several")
        assert several.folder.name == one.folder.name
        assert (several.provenance["processes"], one.provenance["processes"]) == (count, 1)
        assert not (several.folder / LOCK).exists() and not several.checkpoint_file.exists()
        assert_alike(several, one, tolerance)


@pytest.mark.posix
def test_a_training_together_goes_on_alone_after_it_was_told_to_end(tiny, tmp_path, quick):
    settings = {"epochs": 25}
    processes = start_together(2, tmp_path, [("cross-entropy", settings)])
    until(lambda: list(tmp_path.glob("tiny/*/epochs.jsonl")))
    for process in processes:
        os.kill(process.pid, signal.SIGTERM)
    end(processes, [143, 143])
    left = run_in(tmp_path)
    assert left.checkpoint_file.is_file() and 1 <= len(left.epochs) < 25
    resumed = dq.fit("cross-entropy", tiny, runs_dir=tmp_path, **quick | settings)
    assert resumed.finished and resumed.epochs[: len(left.epochs)] == left.epochs


@pytest.mark.parametrize("size", [0, 1, 2, 7, 12])
def test_shares_are_the_batch_cut_in_order(size):
    part = torch.arange(size)
    for count in (1, 2, 3, 5):
        shares = [share_of(part, (rank, count)) for rank in range(count)]
        assert torch.equal(torch.cat(shares), part)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_is_its_own_main_and_waits_for_nobody():
    alone = Processes()
    assert alone.main and alone.as_main_says(lambda: True) and not alone.as_main_says(lambda: False)
    alone.wait()


def test_the_networks_twin_shares_every_weight_and_statistic():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    twin = over_all_processes(network, torch.device("cpu"))
    for name, value in network.state_dict(keep_vars=True).items():
        assert twin.state_dict(keep_vars=True)[name] is value
    assert type(network[1]) is nn.BatchNorm2d and type(twin[1]) is not nn.BatchNorm2d


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from training import QUICK, make_tiny
import dqroute as dq
run = dq.fit("dqroute", make_tiny(), epochs=1, runs_dir=sys.argv[2], **QUICK)
report = dq.evaluate(run, device="cpu")
print("finished", run.finished, run.provenance["processes"], report.images)
"""


@pytest.mark.posix
@pytest.mark.slow
def test_accelerate_launch_needs_no_change_in_the_script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    more = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    here = Path(__file__).parent
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": LOOPBACK, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = [*launch, *more, str(tmp_path / "script.py"), str(here), str(tmp_path / "runs")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("finished True 2 200") == 2
    assert len(list((tmp_path / "runs").glob("tiny/*"))) == 1
