"""``dq.fit``: a training asked for by name is found, gone on with, or begun."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dqroute.core.checks import checked_range, choose, meant, shown
from dqroute.data.alike import say_leak
from dqroute.data.checking import check_files
from dqroute.data.disk import check_writable, folder_name
from dqroute.data.feature_set import OWN, features, fitting
from dqroute.data.files.reading import listed
from dqroute.data.files.split import FileSplit
from dqroute.data.forecast import features_take
from dqroute.data.image_set import ImageSet
from dqroute.data.options import check_kinds, checked_seed, tell_options
from dqroute.methods.base import METHODS, EncoderNeeds, Problem, method_options, option_parameters
from dqroute.models import pretrained
from dqroute.models.backbones import CIFAR_DEPTHS
from dqroute.models.device import resolve_device, uses_bf16
from dqroute.models.encoders import is_encoder, loaded
from dqroute.models.experts import ExpertNetwork
from dqroute.runs.locking import LOCK
from dqroute.runs.pictures import changed_files, keep_keys
from dqroute.runs.run import SETTINGS, Run, RunOrFolder, build, default_runs_dir, folder_of
from dqroute.training import going_on
from dqroute.training.distribution import joined
from dqroute.training.going_on import go_on, inherited, parent_of, say_what_is_kept, seen_alike, start_from_encoder
from dqroute.training.loop import Training
from dqroute.training.settings import (
    Settings,
    fitting_size,
    said,
    setting_names,
    setting_parameters,
    training_settings,
)

SAID = ("preset", "backbone", "pretrained", "tune")  # unless one of these says something else


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
        swapped = "; they stand the other way round" if isinstance(method, ImageSet) else ""
        raise ValueError(
            f"dq.fit takes a method's name, then an image set from dq.load; got {shown(data)} for the set{swapped}"
        )
    choose("method", method, METHODS)
    checked_seed(seed)
    checked_range("checkpoint_minutes", checkpoint_minutes, 0)
    given = {"runs_dir": runs_dir, "compile": compile, "progress": progress, "check": check} | changes
    check_kinds([*OWN_PARAMETERS, *setting_parameters(), *option_parameters(method)], given)
    processes, changes = joined(on_cpu=device == "cpu"), said({"epochs": epochs} | changes)
    # What is wrong with them is heard before anything is computed; what else decides them comes later.
    usual = {} if preset else fitting_size(len(data.train))
    divide_changes(method, preset or "features", usual | changes)
    # Whatever the caller has switched off: there is no training without gradients.
    with processes.ending_together(), torch.inference_mode(False), torch.enable_grad():
        where = resolve_device(device)
        base = default_runs_dir() if runs_dir is None else Path(runs_dir).expanduser()
        # Heard of before features are computed. Where there are runs of the set, this one may be found and no more.
        if processes.main and not (of_set := base / folder_name(data.name)).is_dir():
            check_writable(of_set)
        own, heads = data.identity.get("name") in OWN and data.encoding is None, None
        parent = None if start_from is None else parent_of(start_from, method, data.class_names)
        if parent is not None:
            changes = inherited(parent, changes)
        elif own and data.shape[0] == 3 and preset is None and not changes.keys() & SAID:
            changes |= {"backbone": fitting(data)}
            if processes.main:
                steps = usual | changes
                print(
                    f"{data.name}: {len(data.train):,} pictures of one's own start from a pretrained network,\n  "
                    f"backbone={changes['backbone']!r}, which has seen a million others:\n  "
                    f"{features_take(data, changes['backbone'], device)}, then heads learn for {steps['epochs']} "
                    "epochs;\n  backbone='resnet8', say, or a preset trains one from nothing"
                )
        if is_encoder(changes.get("backbone")):
            tuned = changes.get("tune", "heads") != "heads"
            # With what the parent was asked for, which is known by now.
            check_options(
                method, data, changes["backbone"], *divide_changes(method, preset or "features", usual | changes)
            )
            if parent is None or not tuned:
                with processes.main_first():
                    if parent is None:
                        seen = features(data, changes["backbone"], device=device, progress=progress, check=check)
                    else:
                        seen = seen_alike(parent, data, device, progress)
                if processes.main and seen is not data:  # of features it was said when they were loaded
                    say_leak(seen)
            if not tuned:
                data, changes = seen, {n: v for n, v in changes.items() if n not in ("backbone", "tune")}
            elif parent is None and changes.get("heads_first") is not False:
                options = {name: v for name, v in changes.items() if name in method_options(method)}
                options |= {"device": device, "progress": progress, "check": check}
                heads = fit(method, seen, seed=seed, runs_dir=runs_dir, **options)
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
        width = 0 if parent is None else parent.settings["problem"].get("components", 0)
        width = width if heads is None else heads.model.axes.shape[1]
        folder = folder_of(base, request, data.name)
        found = processes.as_main_says(lambda: (folder / SETTINGS).is_file() and Run(folder).finished)
        with processes.main_first():
            if check and not found and processes.main:
                check_files(data, progress=progress)
        problem, model = problem_of(data, settings, width), None
        # Before there is a folder, because the method may refuse its options.
        if not found:
            model = build(request, problem)
            for name in ("centre", "scale", "axes") if data.encoding is not None else ():
                getattr(model, name).copy_(getattr(data.encoding, name))
            if parent is not None:
                go_on(model, parent, data.class_names)
            elif is_encoder(settings.backbone):
                start_from_encoder(model, settings.backbone, heads)
            elif settings.pretrained and isinstance(model.network, ExpertNetwork):
                weights = pretrained.read_pretrained(settings.pretrained, settings.backbone, data.shape[0])
                pretrained.start_from(model.network, weights)
            elif own and data.encoding is None and processes.main:
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


def check_options(method: str, data: ImageSet, encoder: str, settings: Settings, options: dict[str, Any]) -> None:
    """Have the method refuse its options before files are checked or features are computed, which take their time.

    ``encoder`` names the one whose features heads are to read; none where a network is trained from nothing.
    """
    truth = None if data.true_difficulty is None else tuple(data.true_difficulty.tolist())
    problem = Problem(data.counts, data.groups, 1, (0.0,), (1.0,), difficulty=truth)
    if encoder:
        small = EncoderNeeds("", 1, "", 1, 1)
        problem = replace(problem, backbone=encoder, encoder=small, folds=settings.folds)
    build({"method": method, "seed": 0, "options": options, "training": vars(settings)}, problem)


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


def say_from_nothing(data: ImageSet, backbone: str) -> None:
    """Say of a network for pictures of one's own that it starts from nothing, and which would not."""
    same = f"; backbone='torchvision:{backbone}' is it pretrained," * (backbone not in CIFAR_DEPTHS)
    print(
        f"{data.name}: {backbone} is trained from nothing, which wants very many pictures{same or ';'} "
        f"backbone={fitting(data)!r} is pretrained and installed"
    )


def problem_of(data: ImageSet, settings: Settings, components: int = 0) -> Problem:
    """What a method has to know of an image set, and of the network that is asked for.

    ``components`` are those that a network to be fine-tuned reads. ValueError if pictures are not of the size that a
    pretrained encoder, to be trained on, wants.
    """
    mean, std = data.train.statistics
    truth = None if data.true_difficulty is None else tuple(data.true_difficulty.tolist())
    problem = Problem(data.counts, data.groups, data.shape[0], mean, std, difficulty=truth, scale=settings.cosine_scale)
    problem = replace(problem, fit=data.identity.get("fit", "crop"))
    if (encoding := data.encoding) is not None:
        needs = EncoderNeeds(encoding.weights, encoding.size, encoding.interpolation, *encoding.axes.shape)
        if settings.folds > len(data.train):
            few = f"{len(data.train)} training images cannot be divided into {settings.folds} folds"
            fewer = "folds=2, say, or " * (len(data.train) > 1)
            raise ValueError(f"{few}; use {fewer}folds=0, which judges by training images")
        return replace(problem, channels=3, backbone=encoding.backbone, encoder=needs, folds=settings.folds)
    network = {name: getattr(settings, name) for name in ("backbone", "shared_depth", "branch_width")}
    problem = replace(problem, size=data.shape[1:], **network)
    if not is_encoder(settings.backbone):
        return problem
    wanted = loaded(settings.backbone).preprocessing
    if tuple(data.shape) != (3, wanted.size, wanted.size):
        raise ValueError(
            f"to train {settings.backbone} on, pictures are 3x{wanted.size}x{wanted.size}; these are "
            f"{'x'.join(map(str, data.shape))}: load the set with size={wanted.size}"
        )
    mean, std = (tuple(255 * value for value in values) for values in (wanted.mean, wanted.std))
    return replace(problem, mean=mean, std=std, tune=settings.tune, components=components)


class Known(NamedTuple):
    """What of an image set decides which run it is: the images themselves stay where they were loaded."""

    name: str
    identity: dict[str, Any]
    augmentation: dict[str, Any]
    images: int


def known_of(data: ImageSet) -> Known:
    """What tells the runs on an image set."""
    return Known(data.name, data.identity, data.augmentation_told, len(data.train))


def request_of(
    method: str,
    known: Known,
    changes: Mapping[str, Any],
    *,
    seed: int,
    device: str,
    parent: Run | None = None,
) -> tuple[dict[str, Any], Settings]:
    """Everything that decides a run's result, JSON-ready, and the training's settings; both with the precision settled.

    The request's digest names the run folder. Errors are those of :func:`fit`.

    ``changes`` are settings and options as :func:`fit` takes them, a preset among them. It would be trained on that
    ``device``, which says what ``precision="auto"`` comes to, and go on from ``parent``.
    """
    changes = said(changes)
    preset = changes.pop("preset", None)
    on_features, encoder = "features" in known.identity, is_encoder(changes.get("backbone"))
    if on_features and preset is None:
        changes = fitting_size(known.images) | changes
    usual = "features" if on_features else "fine-tuning" if encoder else "laptop"
    settings, options = divide_changes(method, preset or usual, changes)
    if settings.folds and not on_features:
        raise ValueError("folds are of features; load the set with backbone='efficientnet-lite0', say, or leave it out")
    if not encoder and settings.tune != "heads":
        raise ValueError("tune belongs to a pretrained encoder: name one in backbone, or leave it out")
    if on_features and settings.optimizer == "muon":
        raise ValueError("muon changes the kernels of convolutions, and heads on features have none; use adamw or sgd")
    if on_features and (named := {"backbone", "pretrained"} & changes.keys()):
        raise ValueError(
            f"{named.pop()} is settled in a set of features; leave it out, or load the pictures themselves"
        )
    # Heads are a sliver of work, and their logits want their last digits.
    bf16 = not on_features and uses_bf16(settings.precision, resolve_device(device))
    settings = replace(settings, precision="bf16" if bf16 else "fp32")
    # What the weights to start from are, not where they lie.
    started_from = {"pretrained": loaded(settings.backbone).weights} if encoder else {}
    if settings.pretrained and parent is not None:
        raise ValueError("start_from and pretrained are both weights to start from; leave one out")
    if settings.pretrained:
        started_from = {"pretrained": pretrained.identity_of(settings.pretrained, settings.backbone)}
    request = {
        "method": method,
        "revision": METHODS[method].revision,
        "options": METHODS[method].settled(
            method_options(method) | options, settings.folds if on_features else None, not encoder
        ),
        "training": settings.decisive() | started_from,
        "seed": checked_seed(seed),
        "data": known.identity,
        "augmentation": known.augmentation,
    }
    if parent is not None:
        request["start_from"] = going_on.identity_of(parent)
    return request, settings


def divide_changes(method: str, preset: str, changes: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Tell training settings from the method's own options; ValueError for a name that is neither, listing both."""
    own = method_options(method)
    training = {name: value for name, value in changes.items() if name in setting_names()}
    options = {name: value for name, value in changes.items() if name in own}
    unknown = sorted(changes.keys() - training.keys() - options.keys())
    if unknown:
        hint = meant(unknown[0], [*own, *setting_names(), *list(inspect.signature(fit).parameters)])
        raise ValueError(
            f"unknown setting {', '.join(unknown)}{hint}; training takes {', '.join(setting_names())}; "
            f"{method} takes {', '.join(own) or 'no options'}"
        )
    return training_settings(preset, training), options
