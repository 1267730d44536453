"""``dq.fit``: a training asked for by name is found, gone on with, or begun."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqroute.core.checks import checked_range, checked_seed, plain
from dqroute.data.image_set import ImageSet
from dqroute.methods.base import METHODS, Problem, method_options
from dqroute.models.device import resolve_device
from dqroute.models.pretrained import identity_of, read_pretrained
from dqroute.runs.locking import LOCK
from dqroute.runs.run import Run, default_runs_dir, folder_of
from dqroute.training.distribution import joined
from dqroute.training.loop import Training
from dqroute.training.settings import Settings, setting_names, training_settings


def fit(
    method: str,
    data: ImageSet,
    *,
    seed: int = 0,
    epochs: int | None = None,
    preset: str = "laptop",
    runs_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    compile: bool | None = None,
    checkpoint_minutes: float = 10,
    progress: bool = True,
    **changes: Any,
) -> Run:
    """Train a method, or find the run if it was trained before, or go on where it was interrupted.

    Two processes that ask for the same run do not disturb each other: the second waits and finds it. SIGTERM saves the
    training and ends the process with code 143. Several processes that were launched together train one run together,
    each with a share of every batch; they have to see the same run folder. See :mod:`dqroute.training.distribution`.

    Args:
        method: a name from :data:`dqroute.methods.base.METHODS`.
        data: from :func:`dqroute.load`.
        seed: of the initial weights, the order of images and their augmentation.
        epochs: passes over the training images; by default the preset's.
        preset: ``"laptop"``, ``"short"``, ``"paper"``, ``"imagenet-lt"`` or ``"places-lt"``; see
            :data:`dqroute.training.settings.PRESETS`.
        runs_dir: where run folders go; by default ``$DQROUTE_RUNS``, or ``runs``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        compile: whether to compile the network; None compiles where the training is long enough to repay it, see
            :func:`dqroute.models.device.worth_compiling`. Results differ by rounding. A run goes on as it was begun.
        checkpoint_minutes: how often the training is saved within an epoch; it is after every epoch in any case. What
            was saved goes on to the same result, on a CPU to the last bit.
        progress: whether to show a progress bar.
        changes: any field of :class:`~dqroute.training.settings.Settings` and any option of the method.

    Returns:
        The finished run.

    Raises:
        ValueError: for unknown names and values out of range.
        NonFiniteLoss: if the loss becomes NaN or infinite; what was done before that epoch is kept.
        OSError: if the run folder cannot be written; what was there is kept.
        SystemExit: after SIGTERM, when the training is saved.
    """
    processes = joined(on_cpu=device == "cpu")
    where, seed = resolve_device(device), checked_seed(seed)
    checked_range("checkpoint_minutes", checkpoint_minutes, 0)
    changes = {name: plain(value) for name, value in changes.items()}
    settings, options = divide_changes(method, preset, {"epochs": epochs} | changes)
    if settings.batch_size < processes.count:
        raise ValueError(f"batch_size {settings.batch_size} does not go round {processes.count} processes; enlarge it")
    request = request_of(method, settings, options, seed, data.identity, vars(data.augmentation).copy())
    base, weights = Path(runs_dir).expanduser() if runs_dir is not None else default_runs_dir(), None
    if settings.pretrained and not finished_at(folder_of(base, request, data.name)):
        weights = read_pretrained(settings.pretrained, settings.backbone, data.shape[0])
    mean, std = data.train.statistics
    network = {name: getattr(settings, name) for name in ("backbone", "shared_depth", "branch_width")}
    problem = Problem(data.counts, data.groups, data.shape[0], mean, std, **network, size=data.shape[1:])
    with processes.main_first():
        run = Run.of_request(base, request, problem, data)
    if processes.as_main_says(lambda: run.finished):
        run.warn_of_other_images(data)
        return run
    with processes.alone_in(run.folder):
        # The process waited for may have finished it.
        if not processes.as_main_says(lambda: run.finished):
            Training(run, data, settings, where, compile, processes, weights).to_the_end(progress, checkpoint_minutes)
    if processes.main:
        # Who still waits for the lock or comes later finds the run finished and has no need of it. Windows keeps it.
        with suppress(OSError):
            (run.folder / LOCK).unlink(missing_ok=True)
    return run


def finished_at(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / "settings.json").is_file() and Run(folder).finished


def request_of(
    method: str,
    settings: Settings,
    options: dict[str, Any],
    seed: int,
    identity: dict[str, Any],
    augmentation: dict[str, Any],
) -> dict[str, Any]:
    """Everything that decides a run's result, JSON-ready; its digest names the run folder.

    Args:
        options: the method's own, the others being as it has them.
        identity, augmentation: of the :class:`~dqroute.data.ImageSet`.

    Raises:
        ValueError, FileNotFoundError: for pretrained weights, as :func:`dqroute.models.pretrained.identity_of`.
    """
    # What the weights to start from are, not where they lie.
    started_from = {"pretrained": identity_of(settings.pretrained, settings.backbone)} if settings.pretrained else {}
    return {
        "method": method,
        "revision": METHODS[method].revision,
        "options": method_options(method) | options,
        "training": settings.decisive() | started_from,
        "seed": seed,
        "data": identity,
        "augmentation": augmentation,
    }


def divide_changes(method: str, preset: str, changes: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Tell training settings from the method's own options.

    Raises:
        ValueError: for a name that is neither, listing both.
    """
    own = method_options(method)
    training = {name: value for name, value in changes.items() if name in setting_names()}
    options = {name: value for name, value in changes.items() if name in own}
    unknown = changes.keys() - training.keys() - options.keys()
    if unknown:
        raise ValueError(
            f"unknown setting {', '.join(sorted(unknown))}; training takes {', '.join(setting_names())}; "
            f"{method} takes {', '.join(own) or 'no options'}"
        )
    return training_settings(preset, training), options
