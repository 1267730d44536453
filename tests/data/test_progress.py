"""What is told of a long work under way, by a clock of the test's own."""

import pytest

from dqroute.data.progress import Progress


class Clock:
    """Moves on by so many seconds between two looks."""

    def __init__(self, seconds):
        self.now, self.seconds = -seconds, seconds

    def __call__(self):
        self.now += self.seconds
        return self.now


def told(capsys, seconds, steps=10, number=1, **more):
    """The lines of a work of 20 steps, without a terminal."""
    progress = Progress("ride seed 0", 20, clock=Clock(seconds), **more)
    with progress.bar:
        for _ in range(steps):
            progress.step(number)
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_a_line_tells_steps_share_and_time_left(capsys):
    """A step takes three seconds, and a line comes at most every five: with each second step."""
    lines = told(capsys, 3)
    assert len(lines) == 5
    assert lines[0] == "ride seed 0: 2 of 20 steps, 10% done, 00:54 left"
    assert lines[-1] == "ride seed 0: 10 of 20 steps, 50% done, 00:30 left"


def test_what_is_gone_on_with_counts_what_was_done_before_and_its_own_pace(capsys):
    assert told(capsys, 6, steps=1, done=9) == ["ride seed 0: 10 of 20 steps, 50% done, 01:00 left"]


def test_pictures_come_in_batches(capsys):
    assert told(capsys, 6, steps=1, number=5, unit="picture") == ["ride seed 0: 5 of 20 pictures, 25% done, 00:18 left"]


def test_where_it_is_is_not_asked_for_where_nothing_is_told(capsys):
    progress = Progress("ride seed 0", 20, clock=Clock(0.01))
    progress.step(1, lambda: pytest.fail("a GPU would have been waited for"))
    progress = Progress("ride seed 0", 20, clock=Clock(6))
    progress.step(1, lambda: "epoch 1 of 5, loss 0.500")
    assert capsys.readouterr().err == "ride seed 0: epoch 1 of 5, loss 0.500, 5% done, 01:54 left\n"
    assert told(capsys, 60, show=False) == []


def test_a_long_training_does_not_fill_its_log(capsys):
    """A day at a step a minute: lines at a fiftieth of the time so far, not 1440."""
    progress = Progress("ride seed 0", 2000, clock=Clock(60))
    for _ in range(1440):
        progress.step()
    assert 50 < len(capsys.readouterr().err.splitlines()) < 300


@pytest.mark.parametrize("where", [None, lambda: "epoch 5 of 5, loss 0.500"])
def test_a_terminal_gets_a_bar_of_steps(monkeypatch, capsys, where):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("dqroute.data.progress.DELAY", 0)
    progress = Progress("ride seed 0", 20, clock=Clock(1))
    with progress.bar:
        for _ in range(20):
            progress.step(1, where)
    said = capsys.readouterr().err
    assert "20/20" in said and "\n" not in said.strip() and (where is None or "epoch 5 of 5, loss 0.500" in said)
