"""What decides which run is asked for, in words that come out the same every time: its digest names the run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any, NamedTuple

from dqroute.core.checks import meant
from dqroute.data import load
from dqroute.data.image_set import ImageSet
from dqroute.data.options import checked_seed
from dqroute.methods.base import METHODS, method_options
from dqroute.models import pretrained
from dqroute.models.device import resolve_device, uses_bf16
from dqroute.models.encoders import is_encoder, loaded
from dqroute.runs.run import Run
from dqroute.training import going_on
from dqroute.training.settings import Settings, fitting_size, said, setting_names, training_settings

# Pictures of one's own start from a pretrained network, unless one of these says something else.
SAID = ("preset", "backbone", "pretrained", "tune")


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

    The request's digest names the run folder. Errors are those of :func:`dqroute.fit`.

    ``changes`` are settings and options as :func:`dqroute.fit` takes them, a preset among them. It would be trained on
    that ``device``, which says what ``precision="auto"`` comes to, and go on from ``parent``.
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


def divide_changes(
    method: str, preset: str, changes: Mapping[str, Any], beside: Iterable[str] = ()
) -> tuple[Settings, dict[str, Any]]:
    """Tell training settings from the method's own options; ValueError for a name that is neither, listing both.

    ``beside`` are names that the caller takes elsewhere, and that may have been meant.
    """
    own = method_options(method)
    training = {name: value for name, value in changes.items() if name in setting_names()}
    options = {name: value for name, value in changes.items() if name in own}
    unknown = sorted(changes.keys() - training.keys() - options.keys())
    of_load = {p.name for p in signature(load).parameters.values() if p.kind is p.KEYWORD_ONLY}
    if told := [f"{name}=" for name in unknown if name in of_load]:
        raise ValueError(f"dq.load takes {', '.join(told)}, and not dq.fit: load the set so, then train on it")
    if unknown:
        hint = meant(unknown[0], [*own, *setting_names(), *beside])
        raise ValueError(
            f"unknown setting {', '.join(unknown)}{hint}; training takes {', '.join(setting_names())}; "
            f"{method} takes {', '.join(own) or 'no options'}"
        )
    return training_settings(preset, training), options
