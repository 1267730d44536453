"""A real image set that trains in a fraction of a second, training in a process of its own, and runs compared."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Collection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import dqroute as dq
from dqroute.core.long_tail import exponential_counts, shot_groups
from dqroute.data.image_set import Augmentation, ImageSet, Split
from dqroute.training.loop import Training

# Small and exact: what every test that trains passes to ``dq.fit``.
QUICK = {"backbone": "resnet8", "batch_size": 64, "precision": "fp32", "progress": False, "device": "cpu"}

# What gloo calls the interface of 127.0.0.1.
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def make_tiny(val: int | None = 5) -> ImageSet:
    """Scanned digits at 8x8: 40 training images of digit 0 down to 4 of digit 9, 20 test images a class.

    Args:
        val: validation images a class, or None for no validation split.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    images = torch.from_numpy(source.images * 15).to(torch.uint8)[:, None]
    labels = torch.from_numpy(source.target).long()
    counts = exponential_counts(40, 10, 10)
    indices: dict[str, list[torch.Tensor]] = {"train": [], "test": [], "val": []}
    for c, n in enumerate(counts.tolist()):
        members = (labels == c).nonzero().flatten()
        indices["test"].append(members[:20])
        indices["val"].append(members[20:25])
        indices["train"].append(members[25 : 25 + n])
    parts = {name: torch.cat(chosen) for name, chosen in indices.items()}
    splits = {name: Split(images[index], labels[index]) for name, index in parts.items()}
    return ImageSet(
        name="tiny",
        train=splits["train"],
        test=splits["test"],
        val=splits["val"] if val else None,
        class_names=tuple("0123456789"),
        groups=shot_groups(counts),
        augmentation=Augmentation(padding=1, flip=False),
        identity={"name": "tiny", "version": 1, "imbalance": 10.0, "val": val},
    )


def save_digits(
    split: Split, folder: Path, named: str = "class {}", side: int = 8, classes: Collection[int] = range(10)
) -> Path:
    """Scanned digits as files ``000.png`` and so on, a folder a class; returns the folder of all."""
    for index, (image, label) in enumerate(zip(split.images, split.labels.tolist(), strict=True)):
        if label in classes:
            place = folder / named.format(label)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).resize((side, side)).save(place / f"{index:03}.png")
    return folder


# What differs between two runs that are the same otherwise.
MEASURED = ("seconds",)


def records(run: dq.Run) -> list[dict]:
    """The epochs' records without what a clock measured."""
    return [{name: value for name, value in record.items() if name not in MEASURED} for record in run.epochs]


def assert_same_run(a: dq.Run, b: dq.Run) -> None:
    """Equal records and weights, to the last bit."""
    assert records(a) == records(b)
    states = a.model.state_dict(), b.model.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def before_each(act: Callable[[str, int], None]) -> None:
    """Have this process call ``act`` before each step of a training, each sync and each renaming of a file.

    Called with ``"step"``, ``"sync"`` or ``"rename"``, and how many of that kind there were already.
    """
    counts = Counter()

    def watch(owner: Any, name: str, kind: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any) -> Any:
            act(kind, counts[kind])
            counts[kind] += 1
            return original(*arguments)

        setattr(owner, name, watched)

    watch(Training, "step", "step")
    watch(os, "fsync", "sync")
    watch(Path, "replace", "rename")


def send_itself(number: signal.Signals, kind: str, count: int) -> None:
    """A hook for :func:`start`: send this process a signal before what is counted so."""
    before_each(lambda *now: os.kill(os.getpid(), number) if now == (kind, count) else None)


def stop_before(step: int, reached: Event, go: Event) -> None:
    """A hook for :func:`start`: tell that a step is reached, and wait to be told to go on."""

    def act(kind: str, count: int) -> None:
        if (kind, count) == ("step", step):
            reached.set()
            go.wait()

    before_each(act)


CONTEXT = multiprocessing.get_context("forkserver")
# Forked from a process that has everything imported, a training starts within milliseconds.
CONTEXT.set_forkserver_preload(["dqroute.training.fit", "sklearn.datasets", "sklearn.metrics", "torch._dynamo"])


def train(folder: Path, settings: dict, hook: tuple) -> None:
    """What a process of :func:`start` does."""
    torch.set_num_threads(1)
    if hook:
        hook[0](*hook[1:])
    dq.fit("dqroute", make_tiny(), runs_dir=folder, **QUICK | settings)


def start(folder: Path, *hook: Any, **settings: Any) -> multiprocessing.Process:
    """Train in a process of its own, which first calls a hook, given as a function and its arguments."""
    process = CONTEXT.Process(target=train, args=(folder, settings, hook))
    process.start()
    return process


def launched(rank: int, count: int, port: int, work: Callable[..., None], arguments: tuple) -> None:
    """Work as one of several processes that ``accelerate launch`` started."""
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": LOOPBACK}
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    os.environ |= address | ranks
    work(rank, *arguments)


def launch(count: int, work: Callable[..., None], *arguments: Any) -> list[multiprocessing.Process]:
    """Start processes that belong together, as ``accelerate launch`` does; each calls ``work(rank, *arguments)``."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    processes = [CONTEXT.Process(target=launched, args=(rank, count, port, work, arguments)) for rank in range(count)]
    for process in processes:
        process.start()
    return processes


def train_all(rank: int, folder: Path, runs: list[tuple[str, dict]]) -> None:
    """Work for :func:`launch`: train runs, given as method and settings, one after the other."""
    for method, settings in runs:
        dq.fit(method, make_tiny(), runs_dir=folder, **QUICK | settings)


def ends(processes: list[multiprocessing.Process]) -> list[int | None]:
    """Wait for processes; the codes they end with."""
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def run_in(folder: Path) -> dq.Run:
    """The one run of the tiny set below a folder."""
    (found,) = (folder / "tiny").iterdir()
    return dq.Run(found)


def nearest_means(data: ImageSet) -> dict[str, torch.Tensor]:
    """Two heads on features that take no training: how near the mean of a class is, unsure and sure of it.

    Log-probabilities of the test pictures, ``[N, C]``.
    """
    train, test = data.train, data.test
    means = torch.stack([train.features[train.labels == c].mean(dim=0) for c in range(data.num_classes)])
    rows, columns = (torch.nn.functional.normalize(features, dim=1) for features in (test.features, means))
    return {name: (scale * rows @ columns.T).log_softmax(dim=1) for name, scale in {"unsure": 10, "sure": 25}.items()}
