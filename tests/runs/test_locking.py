"""Two processes that are told to make the same run."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from filelock import FileLock, Timeout
from training import CONTEXT, assert_same_run, ends, run_in, send_itself, start, stop_before

import dqroute as dq
from dqroute.runs import locking
from dqroute.runs.locking import LOCK, only_process
from dqroute.training.distribution import Processes
from dqroute.training.loop import NonFiniteLoss


@pytest.mark.posix
def test_the_second_process_waits_says_so_and_finds_the_same_run(tiny, tmp_path, quick, capfd, monkeypatch):
    """The first one goes on when the second has said that it waits."""
    whole = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "whole", **quick)
    reached, go = CONTEXT.Event(), CONTEXT.Event()
    first = start(tmp_path / "shared", stop_before, 4, reached, go, epochs=2)
    reached.wait()
    capfd.readouterr()
    monkeypatch.setattr(locking, "print", lambda *a, **kw: (print(*a, **kw), go.set()), raising=False)
    second = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "shared", **quick)
    assert ends([first]) == [0]
    said = capfd.readouterr().err
    assert said.count("another process is making") == 1 and second.folder.name in said
    assert second.finished and "resumed" not in second.provenance
    assert_same_run(whole, second)
    assert not (second.folder / LOCK).exists()


@pytest.mark.posix
def test_three_processes_started_together_leave_one_sound_run(tiny, tmp_path, quick):
    whole = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "whole", **quick)
    assert ends([start(tmp_path / "shared", epochs=2) for _ in range(3)]) == [0, 0, 0]
    assert_same_run(whole, run_in(tmp_path / "shared"))


@pytest.mark.posix
def test_the_lock_of_a_killed_process_blocks_nobody(tmp_path, capfd):
    assert ends([start(tmp_path, send_itself, signal.SIGKILL, "step", 1, epochs=2)]) == [-signal.SIGKILL]
    folder = run_in(tmp_path).folder
    assert (folder / LOCK).is_file()
    with only_process(folder):
        pass
    assert "another process" not in capfd.readouterr().err


def test_a_failed_training_gives_the_folder_free(tiny, runs_dir, quick):
    settings = quick | {"lr": 1e3, "warmup": 0, "weight_decay": 1}
    for _ in range(2):  # the second would wait for ever
        with pytest.raises(NonFiniteLoss):
            dq.fit("cross-entropy", tiny, epochs=5, runs_dir=runs_dir, **settings)


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("I am no folder")
    with pytest.raises(OSError, match=r"cannot write .*\.lock.*another runs_dir"), only_process(tmp_path / "file"):
        pass


@pytest.mark.posix
def test_a_read_only_folder_is_named_with_the_remedy(tmp_path):
    """Root may write anywhere; without its capabilities, which only root can drop, it may not."""
    root = os.geteuid() == 0
    if root and not shutil.which("setpriv"):
        pytest.skip("root may write anywhere, and there is no setpriv to keep it from that")
    folder = tmp_path / "runs"
    folder.mkdir()
    folder.chmod(0o555)
    code = "from pathlib import Path\nfrom dqroute.data.disk import write_json\n"
    code += f"write_json(Path({str(folder)!r}) / 'x', 1)"
    command = [*["setpriv", "--bounding-set=-all", "--inh-caps=-all"] * root, sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "cannot write" in result.stderr and "Permission denied" in result.stderr
    assert "choose another runs_dir" in result.stderr and str(folder / "x") in result.stderr
    assert list(folder.iterdir()) == []


@dataclass(frozen=True)
class Speaking(Processes):
    """A main process whose words are noted; after the third, whoever had the folder leaves it."""

    held: FileLock | None = None
    words: list[bool] = field(default_factory=list)

    def as_main_says(self, question):
        self.words.append(question())
        if len(self.words) == 3:
            self.held.release()
        return self.words[-1]


def test_a_main_process_that_waits_tells_the_others_so(tmp_path, monkeypatch):
    """They give up where they hear nothing for minutes."""
    monkeypatch.setattr(locking, "PATIENCE", 0.02)
    main = Speaking(held=FileLock(tmp_path / LOCK))
    main.held.acquire()
    with main.alone_in(tmp_path):
        # After the third word the folder is free; on a slow machine there may be one more before that shows.
        assert main.words[-1] and main.words.count(True) == 1 and len(main.words) >= 4
        with pytest.raises(Timeout):
            FileLock(tmp_path / LOCK).acquire(blocking=False)
    with FileLock(tmp_path / LOCK).acquire(blocking=False):
        pass


@dataclass(frozen=True)
class Listening(Processes):
    """Another process, and what it is told."""

    rank: int = 1
    told: list[bool] = field(default_factory=lambda: [False, False, True])

    def as_main_says(self, question):
        return self.told.pop(0)


def test_the_others_wait_for_the_word_of_the_main_process_and_need_no_lock(tmp_path):
    other = Listening()
    with other.alone_in(tmp_path):
        assert other.told == []
    assert not (tmp_path / LOCK).exists()
