"""The knob: how far a prior is divided out, in a world of the reader's choice, and what detectors make of that world.

``score_c(x) = log p(c|x) - (τ - 1) log π_c + s_ring(c)``, p for balanced classes and π the training shares: at τ = 0
the prior is left in, at τ = 1 it is out. A world w, -1 (forward) to 1 (turned round), has classes in shares
``∝ F^(w r_c / (C - 1))``, r the rank of a class by its training images, from the most; the accuracy there is the mean
of the class accuracies by these shares. ``moving/knob.js`` works out the same in the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES
from dqroute.core.losses import log_prior
from dqroute.data.image_set import ImageSet
from dqroute.measures.worlds import reweighed, shares_in
from dqroute.show.live import Live, embed
from dqroute.show.style import legend_above, new_panels

TAUS = torch.linspace(0, 3, 31)
FINE = 50  # units a root of log-probability in the page: exact near the answer, and 26 below it still told apart
IMAGES = 1800  # what weighs half a megabyte in the page, with two heads of 100 classes
WORLDS = {"as in training": -1.0, "balanced": 0.0, "turned round": 1.0}
CARDS = 4  # pictures of each shot group


def knob(said: Mapping[str, Tensor], data: ImageSet, *, imbalance: float = 50.0) -> Live:
    """A page in which a reader turns τ, a knob for each ring and the test world, and detectors find the setting.

    The page holds 1,800 pictures, as many of each class: of 200 draws the one whose accuracies by τ, in three worlds,
    come nearest to those on all of them.

    Args:
        said: log-probabilities of the test pictures for balanced classes, ``[N, C]``, by the name of who says so, one
            or two; pictures are shown as the last one names them.
        data: the image set; imbalance: F, of the worlds at the ends.

    Raises:
        ValueError: for other names or shapes, and for values that are no log-probabilities.
    """
    if (test := data.test) is None:
        raise ValueError(f"the knob is turned on test pictures, and {data.name} has none")
    shape = (len(test), data.num_classes)
    if not 1 <= len(said) <= 2 or any(log_p.shape != shape or log_p.isnan().any() for log_p in said.values()):
        got = ", ".join(f"{name}: {list(log_p.shape)}" for name, log_p in said.items())
        raise ValueError(f"the knob takes log-probabilities {list(shape)} without NaN by one or two names; got {got}")
    labels, log_pi, rings = test.labels, log_prior(data.counts), data.groups.of_class()
    place = data.counts.argsort(descending=True, stable=True).argsort()
    chosen = representative(said, labels, log_pi, place, imbalance)
    packed = {name: as_bytes(log_p[chosen]) for name, log_p in said.items()}
    shown, labels = {name: as_log_p(values) for name, values in packed.items()}, labels[chosen]
    told: dict[str, Any] = {
        "heads": [{"name": name, "bytes": values.numpy()} for name, values in packed.items()],
        "fine": FINE,
        "labels": labels.numpy().astype("uint16"),
        "rings": rings.int().numpy(),
        "place": place.int().numpy(),
        "logPi": log_pi.float().numpy(),
        "imbalance": imbalance,
        "taus": [round(tau, 2) for tau in TAUS.tolist()],
        "groups": GROUP_NAMES,
        "names": [name.replace("_", " ") for name in data.class_names],
        "cards": cards(list(shown.values())[-1], labels, log_pi, rings),
    }
    gained = {name: gains(log_p, labels, rings, place, imbalance) for name, log_p in shown.items()}
    found = ", ".join(f"{name} from {before[-1]:.1f} to {after[-1]:.1f} %" for name, (before, after) in gained.items())
    alt = f"Where the rarest classes are {imbalance:g} times as common as the most frequent, three shares of rings "
    alt += f"found in pictures without labels raise the accuracy: {found}."
    curves = {
        name: 100 * hits(log_p, labels, log_pi) @ weights(labels, place, imbalance) for name, log_p in shown.items()
    }
    return embed("knob", told, still(curves, gained), alt)


def shares(place: Tensor, imbalance: float, world: float) -> Tensor:
    """Shares of the classes in a world from -1 to 1, ``[C]``, of their ranks by training images, ``place``."""
    return (world * log(imbalance) * place.double() / max(1, len(place) - 1)).softmax(dim=0)


def drawn(labels: Tensor, place: Tensor, imbalance: float, world: float) -> Tensor:
    """Pictures of a world, int64: the first of each class, all of the commonest and at least one."""
    share = shares(place, imbalance, world)
    keep = (labels.bincount(minlength=len(place)) * share / share.max()).round().clamp_min(1)
    return (rank_within(labels) < keep[labels]).nonzero().flatten()


def rank_within(labels: Tensor) -> Tensor:
    """Which picture of its class each is, from 0, int64 ``[N]``."""
    order, counts = labels.argsort(stable=True), labels.bincount()
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - (counts.cumsum(dim=0) - counts)[labels[order]]
    return rank


def hits(log_p: Tensor, labels: Tensor, log_pi: Tensor) -> Tensor:
    """Whether each picture is right at each τ, float64 ``[T, N]``."""
    return torch.stack([((log_p - (tau - 1) * log_pi).argmax(dim=1) == labels).double() for tau in TAUS])


def weights(labels: Tensor, place: Tensor, imbalance: float) -> Tensor:
    """What each picture counts in each of three worlds, ``[N, 3]``."""
    by_class = torch.stack([shares(place, imbalance, world) for world in WORLDS.values()], dim=1)
    found = by_class[labels] / labels.bincount()[labels, None]
    return found / found.sum(dim=0)  # classes without pictures count nowhere


def representative(
    said: Mapping[str, Tensor], labels: Tensor, log_pi: Tensor, place: Tensor, imbalance: float, draws: int = 200
) -> Tensor:
    """Pictures, as many of each class, sorted by class, whose accuracies are nearest to those on all of them."""
    right = torch.cat([hits(log_p, labels, log_pi) for log_p in said.values()])
    wanted = right @ weights(labels, place, imbalance)
    generator, per_class = torch.Generator().manual_seed(0), max(1, IMAGES // len(place))
    found, least = torch.arange(0), float("inf")
    for _ in range(draws):
        order = torch.randperm(len(labels), generator=generator)
        order = order[labels[order].argsort(stable=True)]
        some = order[rank_within(labels[order]) < per_class]
        away = (right[:, some] @ weights(labels[some], place, imbalance) - wanted).square().mean().item()
        if away < least:
            found, least = some, away
    return found


def as_bytes(log_p: Tensor) -> Tensor:
    """Log-probabilities as uint8: ``FINE`` times the root of how far each is below the largest of its row."""
    return ((log_p.amax(dim=1, keepdim=True) - log_p).sqrt() * FINE).round().clamp(0, 255).to(torch.uint8)


def as_log_p(values: Tensor) -> Tensor:
    """What :func:`as_bytes` was given, as the page has it."""
    return (-(values.float() / FINE).square()).log_softmax(dim=1)


def cards(log_p: Tensor, labels: Tensor, log_pi: Tensor, rings: Tensor) -> list[int]:
    """Pictures that are right at some τ only, those with most names first, of each ring a few, of different classes."""
    said = torch.stack([(log_p - (tau - 1) * log_pi).argmax(dim=1) for tau in TAUS])
    right = (said == labels).double().mean(dim=0)
    names = torch.tensor([len(answers.unique()) for answers in said.T])
    some = [i for i in names.argsort(descending=True, stable=True).tolist() if 0.2 <= right[i] <= 0.8]
    found: list[int] = []
    for ring in range(len(GROUP_NAMES)):
        first = {int(labels[i]): i for i in reversed(some) if rings[labels[i]] == ring}
        found += sorted(first.values(), key=some.index)[:CARDS]
    return found


def gains(log_p: Tensor, labels: Tensor, rings: Tensor, place: Tensor, imbalance: float) -> Tensor:
    """Accuracies in three worlds, %, as predicted and with the shares of the rings found there, ``[2, 3]``."""
    found = [shares_in(log_p[drawn(labels, place, imbalance, world)], rings).share for world in WORLDS.values()]
    scores = torch.stack([torch.stack([log_p, reweighed(log_p, rings, share)]) for share in found])
    right = (scores.argmax(dim=3) == labels).double()
    return 100 * torch.einsum("wkn,nw->kw", right, weights(labels, place, imbalance))


def still(curves: Mapping[str, Tensor], gained: Mapping[str, Tensor]) -> Figure:
    """Accuracy against τ in three worlds, a line a head; a dot at τ = 1 and a ring where its detectors take it."""
    figure, axes = new_panels(WORLDS, 2.8, "τ", "accuracy there, %", xlim=(0, 3), xticks=range(3))
    looks = [{"color": "0.55", "linestyle": "dashed"}] * (len(curves) - 1) + [{"color": "#1c1c1c"}]
    for name, look in zip(curves, looks, strict=True):
        for ax, curve, before, after in zip(axes, curves[name].T, *gained[name], strict=True):
            ax.plot(TAUS, curve, label=name, **look)
            ax.plot(1, before, "o", color=look["color"], markersize=4)
            ax.plot(1, after, "o", color=look["color"], markerfacecolor="white", markersize=6)
    axes[0].set_ylim(bottom=0)
    axes[0].plot([], [], "o", color="0.3", markerfacecolor="white", label="shares found without labels")
    legend_above(figure)
    return figure
