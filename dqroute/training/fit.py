"""``dq.fit``: a training asked for by name is found, gone on with, or begun."""

from __future__ import annotations

import inspect
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from dqroute.core.checks import checked_range, choose, shown
from dqroute.data.alike import say_leak
from dqroute.data.checking import check_files
from dqroute.data.disk import check_writable, folder_name
from dqroute.data.feature_set import OWN, features, fitting
from dqroute.data.files.reading import listed
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import ImageSet
from dqroute.data.options import check_kinds, checked_seed, tell_options
from dqroute.methods.base import METHODS, method_options, option_parameters
from dqroute.models.device import resolve_device
from dqroute.models.encoders import is_encoder
from dqroute.runs.locking import LOCK
from dqroute.runs.pictures import changed_files, keep_keys
from dqroute.runs.run import SETTINGS, Run, RunOrFolder, default_runs_dir, folder_of
from dqroute.training.beginning import begun, check_options, problem_of, say_from_nothing, say_pretrained
from dqroute.training.distribution import Processes, joined
from dqroute.training.going_on import inherited, parent_of, say_what_is_kept, seen_alike
from dqroute.training.loop import Training
from dqroute.training.request import SAID, divide_changes, known_of, request_of
from dqroute.training.settings import Settings, fitting_size, said, setting_parameters


def fit(
    method: str,
    data: ImageSet | None = None,  # so that what is missing is answered below
    *,
    seed: int = 0,
    epochs: int | None = None,
    preset: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    compile: bool | None = None,
    checkpoint_minutes: float = 10,
    progress: bool = True,
    check: bool = True,
    start_from: RunOrFolder | None = None,
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
            features are computed, or read where they were computed before, and heads trained on them. So it is with the
            bundled one for folders and tables of one's own, at 224 pixels up to 5,000 pictures, unless a backbone,
            weights or a preset are asked for.
        seed: of the initial weights, the order of images and their augmentation.
        epochs: passes over the training images; by default the preset's.
        preset: ``"features"``, ``"laptop"``, ``"short"``, ``"paper"``, ``"imagenet-lt"`` or ``"places-lt"``; see
            :data:`dqroute.training.settings.PRESETS`. By default the first on features, fitted to how many images there
            are (:func:`dqroute.training.settings.fitting_size`); ``"fine-tuning"`` with ``tune=``; else ``"laptop"``.
        runs_dir: where run folders go; by default ``$DQROUTE_RUNS``, or ``runs``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        compile: whether to compile network and loss; None compiles where the training is long enough to repay it, see
            :func:`dqroute.models.device.worth_compiling`. Results differ by rounding. A run goes on as it was begun.
        checkpoint_minutes: how often the training is saved; 0 saves after every step. What was saved goes on to the
            same result, on a CPU to the last bit.
        progress: whether to show a progress bar, or lines where there is no terminal.
        check: whether to look through all picture files of all parts first, so that damaged ones, and such that hold
            something else than when the run was begun, are named before there is work that they would cost.
        start_from: a finished run of the method, or its folder, whose network and options are gone on with: classes
            may have come, pictures been added or corrected. What it learned of classes of the same name is where
            these begin, and features of pictures known before are not computed again, see
            :mod:`dqroute.training.going_on`. Going on from another run is another run.
        changes: any field of :class:`~dqroute.training.settings.Settings` and any option of the method.

    Raises:
        ValueError: for unknown names and values out of range, before anything is computed, and for damaged pictures.
        NonFiniteLoss: if the loss becomes NaN or infinite; the last checkpoint is kept.
        OSError: if the run folder cannot be written; what was there is kept.
        OtherProcessFailed: if another of the processes that train together fails.
    """
    if not isinstance(data, ImageSet):
        swapped = "; they stand the other way round" if isinstance(method, ImageSet) and data is not None else ""
        raise ValueError(
            "dq.fit takes a method's name, then an image set from dq.load, as in dq.fit('dqroute', data); "
            f"got {shown(data)} for the set{swapped}"
        )
    choose("method", method, METHODS)
    checked_seed(seed)
    checked_range("checkpoint_minutes", checkpoint_minutes, 0)
    given = {"runs_dir": runs_dir, "compile": compile, "progress": progress, "check": check} | changes
    check_kinds([*OWN_PARAMETERS, *setting_parameters(), *option_parameters(method)], given)
    processes, changes = joined(on_cpu=device == "cpu"), said({"epochs": epochs} | changes)
    # What is wrong with them is heard before anything is computed; what else decides them comes later.
    usual = {} if preset else fitting_size(len(data.train))
    divide_changes(method, preset or "features", usual | changes, beside=inspect.signature(fit).parameters)
    # Whatever the caller has switched off: there is no training without gradients.
    with processes.ending_together(), torch.inference_mode(False), torch.enable_grad():
        where = resolve_device(device)
        base = default_runs_dir() if runs_dir is None else Path(runs_dir).expanduser()
        # Heard of before features are computed. Where there are runs of the set, this one may be found and no more.
        if processes.main and not (of_set := base / folder_name(data.name)).is_dir():
            check_writable(of_set)
        own = data.identity.get("name") in OWN and data.encoding is None
        usually = own and data.shape[0] == 3 and preset is None and start_from is None and not changes.keys() & SAID
        parent = None if start_from is None else parent_of(start_from, method, data.class_names)
        if parent is not None:
            changes = inherited(parent, changes)
        elif usually:
            changes |= {"backbone": fitting(data)}
            if processes.main:
                say_pretrained(data, changes["backbone"], device)
        encoder, heads = changes.get("backbone", ""), None
        if is_encoder(encoder):
            # With what the parent was asked for, which is known by now.
            check_options(method, data, encoder, *divide_changes(method, preset or "features", usual | changes))
            tuned = changes.get("tune", "heads") != "heads"
            heads_first = tuned and parent is None and changes.get("heads_first") is not False
            how: dict[str, Any] = {"device": device, "progress": progress, "check": check}
            seen = seen_by(encoder, data, parent, processes, **how) if heads_first or not tuned else data
            if not tuned:
                data, changes = seen, {n: v for n, v in changes.items() if n not in ("backbone", "tune")}
            elif heads_first:
                options = {name: v for name, v in changes.items() if name in method_options(method)}
                heads = fit(method, seen, seed=seed, runs_dir=runs_dir, **options, **how)
                # What the heads say hangs on their scale, which depends on how many pictures there are.
                scale = (vars(Settings()) | heads.settings["training"])["cosine_scale"]
                changes = {"cosine_scale": scale} | changes
        elif isinstance(data.train, FileSplit):
            check_options(method, data, "", *divide_changes(method, preset or "laptop", usual | changes))
        if parent is not None and processes.main:
            say_what_is_kept(parent, data, check)
        request, settings = request_of(
            method, known_of(data), changes | {"preset": preset}, seed=seed, device=device, parent=parent
        )
        if settings.batch_size < processes.count:
            many = f"{processes.count} processes"
            raise ValueError(f"batch_size {settings.batch_size} does not go round {many}; enlarge it")
        folder = folder_of(base, request, data.name)
        found = processes.as_main_says(lambda: (folder / SETTINGS).is_file() and Run(folder).finished)
        if usually and processes.main:
            print(f"{data.name}: found finished: {folder}" if found else f"  heads learn for {settings.epochs} epochs")
        with processes.main_first():
            if check and not found and processes.main:
                check_files(data, progress=progress)
        width = 0 if parent is None else parent.settings["problem"].get("components", 0)
        problem = problem_of(data, settings, width if heads is None else heads.model.axes.shape[1])
        # Before there is a folder, because the method may refuse its options.
        model = None if found else begun(request, problem, data, settings, parent, heads)
        pretrained = data.encoding is not None or is_encoder(settings.backbone) or settings.pretrained
        if own and not (pretrained or parent or found) and processes.main:
            say_from_nothing(data, settings.backbone)
        with processes.main_first():
            run = Run.of_request(base, request, problem, data)
        if model is None:
            run.warn_of_other_images(data, data.splits if check and processes.main else ())
            return run
        with processes.alone_in(run.folder):
            # The process waited for may have finished it.
            if not processes.as_main_says(lambda: run.finished):
                with processes.main_first():
                    if check and processes.main:
                        note_pictures(run, data, parent)
                training = Training(run, model, data, settings, where, compile, processes)
                training.to_the_end(progress, checkpoint_minutes)
    if processes.main:
        # Who still waits for the lock or comes later finds the run finished and has no need of it. Windows keeps it.
        with suppress(OSError):
            (run.folder / LOCK).unlink(missing_ok=True)
    return run


def seen_by(
    encoder: str, data: ImageSet, parent: Run | None, processes: Processes, *, device: str, progress: bool, check: bool
) -> ImageSet:
    """The set as features of an encoder, by the ``parent``'s axes if there is one."""
    with processes.main_first():
        if parent is None:
            seen = features(data, encoder, device=device, progress=progress, check=check)
        else:
            seen = seen_alike(parent, data, device, progress)
    if processes.main and seen is not data:  # of features it was said when they were loaded
        say_leak(seen)
    return seen


OWN_PARAMETERS = [*inspect.signature(fit).parameters.values()]
tell_options(fit, [*setting_parameters(), *(p for method in METHODS for p in option_parameters(method))])


def note_pictures(run: Run, data: ImageSet, parent: Run | None) -> None:
    """Note what the files of a run's pictures hold; ValueError names those changed since it was begun."""
    if changed := changed_files(run.folder, data, data.splits):
        raise ValueError(
            f"{listed(changed)}: other content than when {run.folder} was begun; restore such files, or remove the "
            "folder to train it again"
        )
    keep_keys(run.folder, data, None if parent is None else parent.folder)
