"""Photographs in JPEG files: the input pipeline beside torchvision's, and ResNet-50 at 224x224 from files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from timing import Numbers, in_turn, peak_mib, side_by_side, timed

import dqroute as dq
from dqroute.core.long_tail import shot_groups
from dqroute.data import FileSplit, ImageSet, ResizedCrop
from dqroute.data.batches import StreamedBatches
from dqroute.data.files.reading import cores
from dqroute.methods.base import METHODS, Method, Problem
from dqroute.models.cost import operations
from dqroute.training.settings import Settings

SIDE = 224
BATCH = 16
CLASSES = 8  # for speed it does not matter which
METHOD = "logit-adjustment"
SETTINGS: dict[str, Any] = {"backbone": "resnet50", "batch_size": BATCH, "warmup": 0.0}
CASE = f"ResNet-50 at {SIDE}x{SIDE}"
CPU = torch.device("cpu")


def rows(path: Path | None, limit: float, images: int = 32, rounds: int = 3) -> list[dict[str, Any]]:
    """Measure everything.

    Args:
        path: a folder of JPEG photographs, searched in depth; None makes some up.
        limit: the machine's ceiling in 10^9 operations a second, see `ceiling.py`.
        images: of the training measurements; the input pipeline takes three times as many, all if there are fewer.
        rounds: of which medians are taken; the input pipeline takes twice as many.

    Returns:
        The input pipeline's row, then one for training and one for inference.

    Raises:
        ValueError: if there are fewer JPEG files in the folder than one batch takes.
    """
    source = "made up" if path is None else "given"
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            make_photographs(Path(folder), 3 * images)
        root = path or Path(folder)
        made = [pipeline_row(photographs(root, 3 * images), 2 * rounds) | {"source": source}]
        given = ["--photographs", str(root), "--images", str(images)]
        for job in ("training", "inference"):
            commands = {side: [*given, "--worker", side, CASE, job] for side in ("reference", "engine")}
            speeds = side_by_side(**in_turn(commands, rounds))
            # A step is counted as three forward passes, as usual.
            work = gflop_an_image(photographs(root, BATCH)) * (1 if job == "inference" else 3)
            share = speeds["engine"]["images_per_second"] * work / limit
            row = {"case": CASE, "job": job, "images": images, "source": source}
            made.append(row | speeds | {"share_of_ceiling": share})
    return made


def make_photographs(folder: Path, number: int) -> None:
    """Write JPEG files of 500x375 pixels, quality 90: smooth patches under fine texture."""
    random = np.random.default_rng(0)
    for index in range(number):
        patches = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        smooth = np.asarray(patches.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.float32)
        texture = random.normal(0, 9, (375, 500, 1)).astype(np.float32)
        (folder / f"{index % 4}").mkdir(exist_ok=True)
        pixels = (smooth + texture).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index % 4}" / f"{index:03}.jpg", quality=90)


def photographs(root: Path, number: int) -> ImageSet:
    """The first ``number`` JPEG files below a folder, dealt out to eight classes, to train and test on."""
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))[:number]
    if len(files) < BATCH:
        raise ValueError(f"there are {len(files)} .jpg or .jpeg files below {root}; name a folder with {BATCH} or more")
    labels = torch.arange(len(files)) % CLASSES
    split = FileSplit(root, tuple(file.relative_to(root).as_posix() for file in files), labels, SIDE)
    groups = shot_groups(torch.bincount(labels), "thirds")
    names = tuple(str(c) for c in range(CLASSES))
    return ImageSet("photographs", split, split, names, groups, ResizedCrop(), {"name": "photographs"})


def pipeline_row(data: ImageSet, rounds: int) -> dict[str, Any]:
    """The input pipeline in one thread beside torchvision's, in turn, in images per second of the processor's time.

    The processor's time and not the clock's, so that what else runs on the machine counts less. The ceiling is
    decoding whole pictures and nothing else. All cores together are measured by the clock.
    """
    assert isinstance(data.train, FileSplit)
    files = [data.train.file(i).read_bytes() for i in range(len(data.train))]
    jobs = {"reference": usual(data), "engine": streamed(data, threads=1), "decoding": whole(files)}
    rates: dict[str, list[float]] = {job: [] for job in jobs}
    with one_thread():
        for _ in range(rounds):
            for job, epochs in jobs.items():
                started = time.process_time()
                next(epochs)
                rates[job].append(len(files) / (time.process_time() - started))
        # The first round opens files and libraries for the first time.
        middle = {job: median(found[1:] or found) for job, found in rates.items()}
        together, busy = [], []
        everyone = streamed(data, threads=cores())
        for _ in range(rounds):
            started, worked = time.perf_counter(), time.process_time()
            next(everyone)
            seconds = time.perf_counter() - started
            together.append(len(files) / seconds)
            busy.append((time.process_time() - worked) / seconds / cores())
    return {
        "case": "input pipeline",
        "images": len(files),
        "mean_kilobytes": mean(len(file) for file in files) / 1000,
        "images_per_second_of_a_core": middle,
        "ratio": middle["engine"] / middle["reference"],
        "cores": cores(),
        "all_cores": {
            "images_per_second": median(together),
            "busy": median(busy),
            "share_of_ceiling": median(together) / (middle["decoding"] * cores()),
        },
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """No threads within torch's operations meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usual(data: ImageSet) -> Iterator[None]:
    """Epochs of torchvision's usual pipeline in the calling thread, batches included."""
    from reference import PilImages, augmentation, normalisation
    from torch.utils.data import DataLoader
    from torchvision import transforms

    transform = transforms.Compose([*augmentation(data), *normalisation(*data.train.statistics)])
    loader = DataLoader(PilImages(data.train, transform), BATCH, shuffle=True)
    while True:
        for _ in loader:
            pass
        yield


def streamed(data: ImageSet, threads: int) -> Iterator[None]:
    """Epochs of the streamed pipeline."""
    assert isinstance(data.train, FileSplit) and isinstance(data.augmentation, ResizedCrop)
    batches = StreamedBatches(data.train, data.augmentation, BATCH, CPU, threads=threads)
    seed = 0
    while True:
        for _ in batches.epoch(seed):
            pass
        seed += 1
        yield


def whole(files: list[bytes]) -> Iterator[None]:
    """Every picture decoded as it is, again and again."""
    while True:
        for file in files:
            simplejpeg.decode_jpeg(file, "RGB", strict=False)
        yield


def measure(side: str, job: str, root: Path, images: int) -> Numbers:
    """One measurement in this process: images/s, seconds to the end of the first step, peak memory in MiB."""
    few, data = photographs(root, BATCH), photographs(root, images)
    if job == "training":
        first, speed = (engine_training if side == "engine" else reference_training)(few, data)
    elif side == "engine":
        speed, first = timed(new_model(few).predict, few.splits["test"], data.splits["test"])
    else:
        # Here and below, so that the engine's process does not carry the reference's imports.
        import reference

        model = new_model(few)
        speed, first = timed(
            lambda split: reference.predicted_labels(model, split), few.splits["test"], data.splits["test"]
        )
    return {"images_per_second": speed, "first_step": first, "peak_mib": peak_mib()}


def engine_training(few: ImageSet, data: ImageSet) -> tuple[float, float]:
    """Seconds of a training of one step from start to end, and images/s of a second epoch, by ``dq.fit``."""
    with tempfile.TemporaryDirectory() as folder:
        given: dict[str, Any] = SETTINGS | {"runs_dir": folder, "progress": False, "device": "cpu"}
        started = time.perf_counter()
        dq.fit(METHOD, few, epochs=1, **given)
        first = time.perf_counter() - started
        return first, len(data.train) / dq.fit(METHOD, data, epochs=2, **given).epochs[1]["seconds"]


def reference_training(few: ImageSet, data: ImageSet) -> tuple[float, float]:
    """The same of the plain loop; its first step is that of a new loader."""
    import reference

    model, settings = new_model(few), vars(Settings(**SETTINGS))
    started = time.perf_counter()
    next(reference.training_steps(model, few, settings))
    first = time.perf_counter() - started
    steps, epoch = reference.training_steps(model, data, settings), -(-len(data.train) // BATCH)
    for _ in range(epoch):
        next(steps)
    started = time.perf_counter()
    seen = sum(next(steps) for _ in range(epoch))
    return first, seen / (time.perf_counter() - started)


def gflop_an_image(data: ImageSet) -> float:
    """Operations of one forward pass in 10^9."""
    return operations(new_model(data).network, data.shape) / 1e9


def new_model(data: ImageSet) -> Method:
    """The untrained network, at the precision that the engine would choose."""
    mean, std = data.train.statistics
    problem = Problem(data.counts, data.groups, 3, mean, std, SETTINGS["backbone"], size=data.shape[1:])
    model = METHODS[METHOD](problem).eval()
    model.precision = "auto"
    return model


def in_words(row: dict[str, Any]) -> str:
    """The input pipeline's row as one line."""
    speed, everyone = row["images_per_second_of_a_core"], row["all_cores"]
    return (
        f"{row['case']}, {row['images']} photographs {row['source']}, {row['mean_kilobytes']:.0f} kB: "
        f"{speed['reference']:,.0f} → {speed['engine']:,.0f} images/s a core, ×{row['ratio']:.2f} "
        f"(decoding alone {speed['decoding']:,.0f}); {row['cores']} cores {everyone['images_per_second']:,.0f}, "
        f"{100 * everyone['busy']:.0f} % busy, {100 * everyone['share_of_ceiling']:.0f} % of decoding alone"
    )
