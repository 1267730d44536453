"""SIGTERM and Ctrl-C: the training is saved, and then the process ends or the error goes on up."""

import os
import signal
import threading

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from training import assert_same_run, ends, run_in, send_itself, start

import dqroute as dq
from dqroute.training.interruption import told_to_end
from dqroute.training.loop import Training

pytestmark = pytest.mark.posix
SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize(("number", "end"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_the_signal_is_noted_and_then_does_again_what_it_did(number, end):
    before = signal.getsignal(number)
    with told_to_end() as told:
        assert told() is None
        os.kill(os.getpid(), number)
        assert isinstance(told(), end)
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_ends_at_once():
    with pytest.raises(KeyboardInterrupt), told_to_end() as told:
        os.kill(os.getpid(), signal.SIGINT)
        assert told()
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it went on")


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with told_to_end() as told:
            os.kill(os.getpid(), signal.SIGINT)
            assert told() is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_is_caught():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with told_to_end() as told:
            seen.append((told(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]


def signal_at(monkeypatch, number, step):
    """Send this process a signal in the course of a step, counted over the training."""
    original, steps = Training.step, []

    def stepping(self, *arguments):
        steps.append(1)
        if len(steps) == step:
            os.kill(os.getpid(), number)
        return original(self, *arguments)

    monkeypatch.setattr(Training, "step", stepping)


@pytest.mark.parametrize(
    ("number", "step", "held"),
    [
        (signal.SIGTERM, 2, "holds 0 of 2 epochs and 2 of 3 steps of the next"),
        (signal.SIGINT, 3, "holds 1 of 2 epochs,"),
        (signal.SIGINT, 4, "holds 1 of 2 epochs and 1 of 3 steps of the next"),
    ],
    ids=str,
)
def test_a_training_told_to_end_is_saved_and_goes_on_to_the_last_bit(
    tiny, tmp_path, quick, monkeypatch, capfd, number, step, held
):
    """Three steps an epoch: the signal comes in the middle of one, at its last step, and at the first of the next."""
    whole = dq.fit("dqroute", tiny, epochs=2, start=0.5, runs_dir=tmp_path / "whole", **quick)
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        signal_at(patch, number, step)
        with pytest.raises(SystemExit if number == signal.SIGTERM else KeyboardInterrupt) as end:
            dq.fit("dqroute", tiny, epochs=2, start=0.5, runs_dir=tmp_path / "cut", **quick)
    assert signal.getsignal(number) == before
    assert number == signal.SIGINT or end.value.code == 143
    left = run_in(tmp_path / "cut")
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and f"{left.folder} {held}" in said and "goes on when the run is asked for" in said
    assert left.checkpoint_file.is_file() and not left.finished
    original, steps = Training.step, []
    monkeypatch.setattr(Training, "step", lambda self, *a: (steps.append(1), original(self, *a))[1])
    resumed = dq.fit("dqroute", tiny, epochs=2, start=0.5, runs_dir=tmp_path / "cut", **quick)
    assert len(steps) == 6 - step  # no step is made twice
    assert_same_run(whole, resumed)


@pytest.mark.parametrize("number", SIGNALS)
def test_told_to_end_in_the_last_step_the_run_is_finished_first(tiny, runs_dir, quick, monkeypatch, number):
    signal_at(monkeypatch, number, 3)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, **quick)
    assert run_in(runs_dir).finished


def test_a_process_told_to_end_leaves_with_the_code_of_the_signal(tmp_path):
    assert ends([start(tmp_path, send_itself, signal.SIGTERM, "step", 4, epochs=2)]) == [143]
    run = run_in(tmp_path)
    assert run.checkpoint_file.is_file() and len(run.epochs) == 1 and not run.finished


@pytest.mark.slow
def test_a_notebook_interrupted_keeps_what_was_trained(tiny, tmp_path, quick):
    """The cell ends with KeyboardInterrupt; run again, it goes on where it was."""
    folder = tmp_path / "runs"
    cell = (
        f"import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(__file__))!r})\n"
        "import signal, torch\n"
        "import dqroute as dq\nfrom training import QUICK, make_tiny, send_itself\n"
        "torch.set_num_threads(1)\n"  # as many as here: sums over two threads round otherwise
        "send_itself(signal.SIGINT, 'step', 1)\n"
        f"dq.fit('dqroute', make_tiny(), epochs=1, runs_dir={str(folder)!r}, **QUICK)"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
        NotebookClient(notebook, timeout=None).execute()
    (output,) = [o.text for o in notebook.cells[0].outputs if o.get("name") == "stderr"]
    left = run_in(folder)
    assert f"told to end: {left.folder} holds 0 of 1 epochs and 2 of 3 steps" in output
    resumed = dq.fit("dqroute", tiny, epochs=1, runs_dir=folder, **quick)
    assert_same_run(resumed, dq.fit("dqroute", tiny, epochs=1, runs_dir=tmp_path / "whole", **quick))
