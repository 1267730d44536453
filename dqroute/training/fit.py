"""``dq.fit``: a training asked for by name is found, gone on with, or begun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dqroute.core.checks import checked_range, checked_seed, plain
from dqroute.data.feature_set import features
from dqroute.data.image_set import ImageSet
from dqroute.methods.base import METHODS, EncoderNeeds, Problem, method_options
from dqroute.models.device import resolve_device, uses_bf16
from dqroute.models.encoders import is_encoder
from dqroute.models.experts import ExpertNetwork
from dqroute.models.pretrained import identity_of, read_pretrained, start_from
from dqroute.runs.locking import LOCK
from dqroute.runs.run import SETTINGS, Run, build, default_runs_dir, folder_of
from dqroute.training.distribution import joined
from dqroute.training.loop import Training
from dqroute.training.settings import Settings, enough_steps, setting_names, training_settings


def fit(
    method: str,
    data: ImageSet,
    *,
    seed: int = 0,
    epochs: int | None = None,
    preset: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    compile: bool | None = None,
    checkpoint_minutes: float = 10,
    progress: bool = True,
    **changes: Any,
) -> Run:
    """Train a method, or find the run if it was trained before, or go on where it was interrupted.

    Two processes that ask for the same run do not disturb each other: the second waits and finds it. SIGTERM and Ctrl-C
    save the training and end it, SIGTERM the process too, with code 143; any other error saves what it can and says
    so. Several processes that were launched together train one run together, each with a share of every batch; they
    have to see the same run folder, and an error of one ends all. See :mod:`dqroute.training.distribution`.

    Args:
        method: a name from :data:`dqroute.methods.base.METHODS`.
        data: from :func:`dqroute.load`. With ``backbone=`` a pretrained encoder (:mod:`dqroute.models.encoders`) its
            features are computed, or read where they were computed before, and heads trained on them.
        seed: of the initial weights, the order of images and their augmentation.
        epochs: passes over the training images; by default the preset's.
        preset: ``"features"``, ``"laptop"``, ``"short"``, ``"paper"``, ``"imagenet-lt"`` or ``"places-lt"``; see
            :data:`dqroute.training.settings.PRESETS`. By default the first on features, else the second.
        runs_dir: where run folders go; by default ``$DQROUTE_RUNS``, or ``runs``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        compile: whether to compile network and loss; None compiles where the training is long enough to repay it, see
            :func:`dqroute.models.device.worth_compiling`. Results differ by rounding. A run goes on as it was begun.
        checkpoint_minutes: how often the training is saved; 0 saves after every step. What was saved goes on to the
            same result, on a CPU to the last bit.
        progress: whether to show a progress bar, or lines where there is no terminal.
        changes: any field of :class:`~dqroute.training.settings.Settings` and any option of the method.

    Returns:
        The finished run.

    Raises:
        ValueError: for unknown names and values out of range.
        NonFiniteLoss: if the loss becomes NaN or infinite; the last checkpoint is kept.
        OSError: if the run folder cannot be written; what was there is kept.
        OtherProcessFailed: if another of the processes that train together fails.
        SystemExit, KeyboardInterrupt: after SIGTERM and Ctrl-C, when the training is saved.
    """
    if not isinstance(data, ImageSet):
        raise ValueError(f"dq.fit takes a method's name, then an image set from dq.load; got {data!r} for the set")
    processes, changes = joined(on_cpu=device == "cpu"), {"epochs": epochs} | changes
    with processes.ending_together():
        where = resolve_device(device)
        if isinstance(backbone := changes.get("backbone"), str) and is_encoder(backbone):
            changes.pop("backbone")
            with processes.main_first():
                data = features(checked_pictures(data, backbone), backbone, device=device, progress=progress)
        checked_range("checkpoint_minutes", checkpoint_minutes, 0)
        if compile not in (None, True, False):
            raise ValueError(f"compile is True, False or None; got {compile!r}")
        request, settings = request_of(
            *(method, data.identity, data.augmentation_told, len(data.train)),
            seed=seed,
            preset=preset,
            changes=changes,
            device=device,
        )
        if settings.batch_size < processes.count:
            many = f"{processes.count} processes"
            raise ValueError(f"batch_size {settings.batch_size} does not go round {many}; enlarge it")
        base = default_runs_dir() if runs_dir is None else Path(runs_dir).expanduser()
        folder, problem = folder_of(base, request, data.name), problem_of(data, settings)
        model = None
        # Before there is a folder, because the method may refuse its options.
        if not processes.as_main_says(lambda: (folder / SETTINGS).is_file() and Run(folder).finished):
            model = build(request, problem)
            if data.encoding is not None:
                model.look_through(data.encoding)
            if settings.pretrained and isinstance(model.network, ExpertNetwork):
                start_from(model.network, read_pretrained(settings.pretrained, settings.backbone, data.shape[0]))
        with processes.main_first():
            run = Run.of_request(base, request, problem, data)
        if model is None:
            run.warn_of_other_images(data)
            return run
        with processes.alone_in(run.folder):
            # The process waited for may have finished it.
            if not processes.as_main_says(lambda: run.finished):
                training = Training(run, model, data, settings, where, compile, processes)
                training.to_the_end(progress, checkpoint_minutes)
    if processes.main:
        # Who still waits for the lock or comes later finds the run finished and has no need of it. Windows keeps it.
        with suppress(OSError):
            (run.folder / LOCK).unlink(missing_ok=True)
    return run


def checked_pictures(data: ImageSet, backbone: str) -> ImageSet:
    """The set, if it is of pictures, or of features of this very backbone; ValueError if of another's."""
    if data.encoding is not None and data.encoding.backbone != backbone:
        raise ValueError(
            f"{data.name} is a set of features of {data.encoding.backbone}; leave backbone={backbone!r} out, or load "
            "the pictures themselves"
        )
    return data


def problem_of(data: ImageSet, settings: Settings) -> Problem:
    """What a method has to know of an image set, and of the network that is asked for."""
    mean, std = data.train.statistics
    if (encoding := data.encoding) is not None:
        needs = EncoderNeeds(encoding.weights, encoding.size, encoding.interpolation, *encoding.axes.shape)
        seen = Problem(data.counts, data.groups, 3, mean, std, encoding.backbone)
        return replace(seen, encoder=needs, folds=settings.folds)
    network = settings.backbone, settings.shared_depth, settings.branch_width
    return Problem(data.counts, data.groups, data.shape[0], mean, std, *network, size=data.shape[1:])


def request_of(
    method: str,
    identity: Mapping[str, Any],
    augmentation: Mapping[str, Any],
    images: int,
    *,
    seed: int,
    preset: str | None,
    changes: Mapping[str, Any],
    device: str,
) -> tuple[dict[str, Any], Settings]:
    """Everything that decides a run's result, JSON-ready, and the training's settings; both with the precision settled.

    The request's digest names the run folder. Errors are those of :func:`fit`.

    Args:
        identity, augmentation: of the :class:`~dqroute.data.ImageSet`; images: how many it trains on.
        changes: of the preset's settings and of the method's options, as :func:`fit` takes them.
        device: where it would be trained; ``precision="auto"`` comes to what that computes in.
    """
    changes = {name: plain(value) for name, value in changes.items()}
    on_features = "features" in identity
    if on_features and preset is None:
        changes = enough_steps(images) | {name: value for name, value in changes.items() if value is not None}
    settings, options = divide_changes(method, preset or ("features" if on_features else "laptop"), changes)
    if settings.folds and not on_features:
        raise ValueError("folds are of features; load the set with backbone='efficientnet-lite0', say, or leave it out")
    if on_features and (named := {"backbone", "pretrained"} & {n for n, v in changes.items() if v is not None}):
        raise ValueError(
            f"{named.pop()} is settled in a set of features; leave it out, or load the pictures themselves"
        )
    # Heads are a sliver of work, and their logits want their last digits.
    bf16 = not on_features and uses_bf16(settings.precision, resolve_device(device))
    settings = replace(settings, precision="bf16" if bf16 else "fp32")
    # What the weights to start from are, not where they lie.
    started_from = {"pretrained": identity_of(settings.pretrained, settings.backbone)} if settings.pretrained else {}
    request = {
        "method": method,
        "revision": METHODS[method].revision,
        "options": METHODS[method].settled(method_options(method) | options, settings.folds if on_features else None),
        "training": settings.decisive() | started_from,
        "seed": checked_seed(seed),
        "data": dict(identity),
        "augmentation": dict(augmentation),
    }
    return request, settings


def divide_changes(method: str, preset: str, changes: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Tell training settings from the method's own options; ValueError for a name that is neither, listing both."""
    own = method_options(method)
    training = {name: value for name, value in changes.items() if name in setting_names()}
    options = {name: value for name, value in changes.items() if name in own}
    unknown = sorted(changes.keys() - training.keys() - options.keys())
    if unknown:
        close = get_close_matches(unknown[0], [*own, *setting_names()], n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(
            f"unknown setting {', '.join(unknown)}{hint}; training takes {', '.join(setting_names())}; "
            f"{method} takes {', '.join(own) or 'no options'}"
        )
    return training_settings(preset, training), options
