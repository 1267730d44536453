"""What is told of a training under way, by a clock of the test's own."""

import pytest

from dqroute.training.progress import Progress


class Clock:
    """Moves on by so many seconds between two looks."""

    def __init__(self, seconds):
        self.now, self.seconds = -seconds, seconds

    def __call__(self):
        self.now += self.seconds
        return self.now


def told(capsys, seconds, steps=10, show=True, done=0):
    """The lines of a training of 5 epochs of 4 steps, without a terminal."""
    progress = Progress("ride seed 0", 5, 4, done, show, Clock(seconds))
    with progress.bar:
        for _ in range(steps):
            progress.step(lambda: 0.5)
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_a_line_tells_epoch_loss_share_and_time_left(capsys):
    """A step takes three seconds, and a line comes at most every five: with each second step."""
    lines = told(capsys, 3)
    assert len(lines) == 5
    assert lines[0] == "ride seed 0: epoch 1 of 5, loss 0.500, 10% done, 00:54 left"
    assert lines[-1] == "ride seed 0: epoch 3 of 5, loss 0.500, 50% done, 00:30 left"


def test_a_training_gone_on_with_counts_what_was_done_before_and_its_own_pace(capsys):
    lines = told(capsys, 6, steps=1, done=9)
    assert lines == ["ride seed 0: epoch 3 of 5, loss 0.500, 50% done, 01:00 left"]


def test_the_loss_is_not_asked_for_where_nothing_is_told(capsys):
    progress = Progress("ride seed 0", 5, 4, 0, True, Clock(0.01))
    progress.step(lambda: pytest.fail("a GPU would have been waited for"))
    assert told(capsys, 60, show=False) == []


def test_a_long_training_does_not_fill_its_log(capsys):
    """A day at a step a minute: lines at a fiftieth of the time so far, not 1440."""
    progress = Progress("ride seed 0", 100, 20, 0, True, Clock(60))
    for _ in range(1440):
        progress.step(lambda: 0.5)
    assert 50 < len(capsys.readouterr().err.splitlines()) < 300


def test_a_terminal_gets_a_bar_of_steps(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = Progress("ride seed 0", 5, 4, 0, True, Clock(1))
    with progress.bar:
        for _ in range(20):
            progress.step(lambda: 0.5)
    said = capsys.readouterr().err
    assert "20/20" in said and "epoch 5 of 5, loss 0.500" in said and "\n" not in said.strip()
