"""Several real processes train what one process trains, to rounding, and none waits for one that failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from training import CONTEXT, LOOPBACK, QUICK, ends, launch, make_tiny, run_in, send_itself, train_all

import dqroute as dq
from dqroute.data.batches import share_of
from dqroute.methods.base import METHODS
from dqroute.runs.locking import LOCK
from dqroute.training import loop
from dqroute.training.distribution import Processes, over_all_processes
from dqroute.training.loop import Training

pytestmark = pytest.mark.posix
# Neither 37 nor the last batch's 11 divide by two or three; few steps, because rounding grows from step to step.
SETTINGS = {"epochs": 2, "batch_size": 37, "lr": 0.02, "warmup": 0, "optimizer": "sgd", "branch_width": 0.25}
RUNS = [
    ("dqroute", SETTINGS | {"start": 0.5, "detector": "linear", "alpha": 1.0}, 1e-5),
    # Its loss is divided by the sum of the batch's weights.
    ("class-balanced", SETTINGS | {"start": 0.0}, 1e-5),
    # Muon computes its direction in bfloat16, which makes rounding a thousand times as large.
    ("ride", SETTINGS | {"optimizer": "muon", "epochs": 1}, 1e-2),
]


def without_norms():
    """Take the batch norms out of every method's network: on CPUs each process has those of its own share."""
    for name, method in METHODS.items():

        def plain(self, *arguments, method=method, **options):
            super(type(self), self).__init__(*arguments, **options)
            for module in list(self.network.modules()):
                for child, inside in list(module.named_children()):
                    if isinstance(inside, nn.BatchNorm2d):
                        setattr(module, child, nn.Identity())

        # The options are read from the constructor.
        plain.__wrapped__ = method.__init__
        METHODS[name] = type(method.__name__, (method,), {"__init__": plain})


def train_without_norms(rank, folder, runs):
    without_norms()
    train_all(rank, folder, runs)


def one_of(method, folder):
    (found,) = folder.glob(f"tiny/{method}-*")
    return dq.Run(found)


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_give_the_numbers_of_one_but_for_batch_norms(count, tiny, tmp_path, quick, registry):
    """Loss, training accuracy and a method's own counts come from the whole batch, and so do all gradients."""
    runs = [(method, settings) for method, settings, _ in RUNS]
    processes = launch(count, train_without_norms, tmp_path / "several", runs)
    without_norms()
    train_all(0, tmp_path / "one", runs)
    assert ends(processes) == [0] * count
    for name, _, tolerance in RUNS:
        one, several = (one_of(name, tmp_path / where) for where in ("one", "several"))
        assert several.folder.name == one.folder.name
        assert (several.provenance["processes"], one.provenance["processes"]) == (count, 1)
        assert not (several.folder / LOCK).exists() and not several.checkpoint_file.exists()
        for mine, other in zip(several.epochs, one.epochs, strict=True):
            assert mine.keys() == other.keys()
            assert mine["loss"] == pytest.approx(other["loss"], rel=tolerance)
            assert mine["accuracy"] == pytest.approx(other["accuracy"], abs=0.01)  # one image of 159 on the fence
            for value in ("difficulty", "class_weights"):
                assert mine.get(value, []) == pytest.approx(other.get(value, []), rel=1e-4)
        for value, tensor in several.model.state_dict().items():
            # What is fitted to the networks' words magnifies their last digits.
            near = max(tolerance, 0.05 * value.startswith("calibration"))
            torch.testing.assert_close(tensor, one.model.state_dict()[value], rtol=near, atol=near, msg=value)


def train_until_told(rank, folder, settings):
    """Both are told to end in the course of the fifth step."""
    import signal

    send_itself(signal.SIGTERM, "step", 4)
    train_all(rank, folder, [("cross-entropy", settings)])


def test_a_training_together_goes_on_alone_after_it_was_told_to_end(tiny, tmp_path, quick):
    """With batch norms, which each process has of its own share."""
    assert ends(launch(2, train_until_told, tmp_path, {"epochs": 2})) == [143, 143]
    left = run_in(tmp_path)
    before = left.epochs
    assert left.checkpoint_file.is_file() and len(before) == 1
    resumed = dq.fit("cross-entropy", tiny, epochs=2, runs_dir=tmp_path, **quick)
    assert resumed.finished and resumed.epochs[:1] == before


# --- one fails --------------------------------------------------------------------------------------------------


def raising(error, where, name):
    """Have a function or method of this process raise."""

    def fails(*_):
        raise error

    setattr(where, name, fails)


def in_a_step(settings):
    original, steps = Training.step, []

    def step(self, *arguments):
        steps.append(1)
        if len(steps) == 3:
            raise ValueError("a loss of its own")
        return original(self, *arguments)

    Training.step = step


FAILURES = {
    "before, by an option": lambda settings: settings.update(alpha=7),
    "before, by its data": lambda _: raising(OSError("unreadable"), loop, "batches_of"),
    "in a step": in_a_step,
    "at the end": lambda _: raising(OSError("disk full"), Training, "finish"),
}
CASES = [("before, by an option", 0), ("before, by its data", 1), ("in a step", 0), ("in a step", 1), ("at the end", 0)]


def train_and_tell(rank, folder, failure, culprit, told, all_heard):
    """Train where one fails; tell the error and stay alive until all have told: no one's end frees another."""
    settings = {"epochs": 1, "runs_dir": folder}
    if rank == culprit:
        FAILURES[failure](settings)
    try:
        dq.fit("dqroute", make_tiny(), **QUICK | settings)
        told.put((rank, None, ""))
    except BaseException as error:
        notes = [note for one in (error, error.__cause__) for note in getattr(one, "__notes__", [])]
        told.put((rank, type(error).__name__, " ".join([str(error), *notes])))
    all_heard.wait()


@pytest.mark.parametrize(("failure", "culprit"), CASES, ids=str)
def test_the_failure_of_one_is_an_error_in_all_and_what_was_done_is_kept(tmp_path, failure, culprit):
    told, all_heard = CONTEXT.Queue(), CONTEXT.Event()
    processes = launch(2, train_and_tell, tmp_path, failure, culprit, told, all_heard)
    try:
        said = {rank: (kind, text) for rank, kind, text in (told.get(timeout=300) for _ in processes)}
    finally:
        all_heard.set()
    assert ends(processes) == [0, 0]
    assert said[culprit][0] in ("ValueError", "OSError")
    kind, text = said[1 - culprit]
    assert kind == "OtherProcessFailed" and "another of the 2 processes failed" in text
    if failure == "in a step":
        # The main process has saved the two steps that were whole, whoever failed, and says so.
        assert "and 2 of 3 steps" in said[0][1] and run_in(tmp_path).checkpoint_file.is_file()


# --- in parts ---------------------------------------------------------------------------------------------------


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


def test_on_gpus_the_networks_twin_has_synchronised_norms_and_shares_every_weight_and_statistic():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    twin = over_all_processes(network, torch.device("cuda"))
    for name, value in network.state_dict(keep_vars=True).items():
        assert twin.state_dict(keep_vars=True)[name] is value
    assert type(network[1]) is nn.BatchNorm2d and type(twin[1]) is nn.SyncBatchNorm
    assert over_all_processes(network, torch.device("cpu")) is network


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from training import QUICK, make_tiny
import dqroute as dq
run = dq.fit("dqroute", make_tiny(), epochs=1, runs_dir=sys.argv[2], **QUICK)
report = dq.evaluate(run, device="cpu")
print("finished", run.finished, run.provenance["processes"], report.images)
"""


@pytest.mark.slow
def test_accelerate_launch_needs_no_change_in_the_script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    tests = Path(__file__).parents[1]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": LOOPBACK, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tests.parent), os.environ.get("PYTHONPATH", "")])
    command += [str(tmp_path / "script.py"), str(tests), str(tmp_path / "runs")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("finished True 2 200") == 2
    assert len(list((tmp_path / "runs").glob("tiny/*"))) == 1
