"""SIGTERM: the training is saved, and the process ends."""

import os
import signal
import threading

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from test_locking import until
from training import assert_same_run, run_in, start

import dqroute as dq
from dqroute.training.interruption import told_to_end
from dqroute.training.loop import Training

LONG = {"epochs": 25}
pytestmark = pytest.mark.posix


def test_the_signal_is_noted_and_then_does_again_what_it_did():
    before = signal.getsignal(signal.SIGTERM)
    with told_to_end() as told:
        assert not told()
        os.kill(os.getpid(), signal.SIGTERM)
        assert told()
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_nothing_is_caught():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with told_to_end() as told:
            seen.append((told(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def terminate_at(monkeypatch, step):
    """Send this process SIGTERM in the course of a step, counted over the training."""
    original, steps = Training.step, []

    def stepping(self, *arguments):
        steps.append(1)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(Training, "step", stepping)


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_training_told_to_end_is_saved_and_goes_on_to_the_last_bit(tiny, tmp_path, quick, monkeypatch, capfd, step):
    """Three steps an epoch: the signal comes at the first, in the middle, and at the last one of an epoch."""
    whole = dq.fit("dqroute", tiny, epochs=3, start=0.3, runs_dir=tmp_path / "whole", **quick)
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        terminate_at(patch, step)
        with pytest.raises(SystemExit) as end:
            dq.fit("dqroute", tiny, epochs=3, start=0.3, runs_dir=tmp_path / "cut", **quick)
    assert end.value.code == 143 and signal.getsignal(signal.SIGTERM) == before
    left = run_in(tmp_path / "cut")
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and f"told to end: {left.folder} is saved" in said
    assert left.checkpoint_file.is_file() and not left.finished
    original, steps = Training.step, []
    monkeypatch.setattr(Training, "step", lambda self, *a: (steps.append(1), original(self, *a))[1])
    resumed = dq.fit("dqroute", tiny, epochs=3, start=0.3, runs_dir=tmp_path / "cut", **quick)
    assert len(steps) == 9 - step  # no step is made twice
    assert_same_run(whole, resumed)


def test_a_process_told_to_end_leaves_with_the_code_of_the_signal(tiny, tmp_path, quick):
    process = start(tmp_path, **LONG)
    until(lambda: list(tmp_path.glob("tiny/*/epochs.jsonl")))
    process.terminate()
    process.join(30)
    assert process.exitcode == 143
    run = run_in(tmp_path)
    assert run.checkpoint_file.is_file() and len(run.epochs) < LONG["epochs"]


def test_a_notebook_told_to_end_keeps_what_was_trained(tiny, tmp_path, quick):
    """The cell ends with SystemExit; run again, it goes on where it was."""
    folder = tmp_path / "runs"
    cell = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "import os, pathlib, signal, threading, time, torch\n"
        "import dqroute as dq\nfrom training import QUICK, make_tiny\n"
        "torch.set_num_threads(1)\n"  # as many as here: sums over two threads round otherwise
        "def end():\n"
        f"    while not list(pathlib.Path({str(folder)!r}).glob('tiny/*/epochs.jsonl')): time.sleep(0.001)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=end).start()\n"
        f"dq.fit('dqroute', make_tiny(), runs_dir={str(folder)!r}, **QUICK | {LONG!r})"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    with pytest.raises(CellExecutionError, match=r"SystemExit.*\b143\b"):
        NotebookClient(notebook, timeout=120).execute()
    left = run_in(folder)
    assert left.checkpoint_file.is_file() and 1 <= len(left.epochs) < LONG["epochs"]
    resumed = dq.fit("dqroute", tiny, runs_dir=folder, **quick | LONG)
    assert resumed.folder == left.folder
    assert_same_run(resumed, dq.fit("dqroute", tiny, runs_dir=tmp_path / "whole", **quick | LONG))


def test_told_to_end_in_the_last_step_the_run_is_finished_first(tiny, runs_dir, quick, monkeypatch):
    terminate_at(monkeypatch, 3)
    with pytest.raises(SystemExit):
        dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, checkpoint_minutes=10, **quick)
    assert run_in(runs_dir).finished
