"""A real image set that trains in a fraction of a second, training in a process of its own, and runs compared."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from pathlib import Path

import torch

import dqroute as dq
from dqroute.core.long_tail import exponential_counts, shot_groups
from dqroute.data.image_set import Augmentation, ImageSet, Split

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


# What differs between two runs that are the same otherwise.
MEASURED = ("seconds", "images_per_second", "cpu_joules")


def records(run: dq.Run) -> list[dict]:
    """The epochs' records without what is measured of time and energy."""
    return [{name: value for name, value in record.items() if name not in MEASURED} for record in run.epochs]


def assert_same_run(a: dq.Run, b: dq.Run) -> None:
    """Equal records and weights, to the last bit."""
    assert records(a) == records(b)
    states = a.model.state_dict(), b.model.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def train(folder: Path, settings: dict) -> None:
    """What a process of :func:`start` does."""
    torch.set_num_threads(1)
    dq.fit("dqroute", make_tiny(), runs_dir=folder, **QUICK | settings)


def start(folder: Path, **settings) -> multiprocessing.Process:
    """Train in a process of its own, forked from one that has everything imported: it starts within milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training"])
    process = context.Process(target=train, args=(folder, settings))
    process.start()
    return process


def train_together(rank: int, count: int, port: int, folder: Path, runs: list[tuple[str, dict]]) -> None:
    """What each process of :func:`start_together` does."""
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": LOOPBACK}
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    os.environ |= address | ranks
    for method, settings in runs:
        dq.fit(method, make_tiny(), runs_dir=folder, **QUICK | settings)


def start_together(count: int, folder: Path, runs: list[tuple[str, dict]]) -> list[multiprocessing.Process]:
    """Start processes that train runs together, as ``accelerate launch`` does."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training"])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    processes = [
        context.Process(target=train_together, args=(rank, count, port, folder, runs)) for rank in range(count)
    ]
    for process in processes:
        process.start()
    return processes


def run_in(folder: Path) -> dq.Run:
    """The one run of the tiny set below a folder."""
    (found,) = (folder / "tiny").iterdir()
    return dq.Run(found)
