"""Going on from a run: what it knows of classes that are still there is kept, by their names.

So is what heads on an encoder's features know, when the encoder itself is trained on.

The heads that predict begin as they were left. Those that judge out of fold begin anew: an image may lie in another
fold than before, and a head that has seen it must not judge it.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from torch import Tensor

from dqroute.core.checks import one_line
from dqroute.data.files.reading import listed
from dqroute.data.image_set import ImageSet
from dqroute.methods.base import Method
from dqroute.models.encoders import Trunk, architecture
from dqroute.models.experts import ExpertNetwork
from dqroute.models.heads import Heads
from dqroute.models.trust import sha256
from dqroute.runs.own_data import as_features
from dqroute.runs.pictures import learned_from
from dqroute.runs.run import Run, RunOrFolder, opened
from dqroute.training.settings import Settings

NETWORK = ("backbone", "shared_depth", "branch_width", "cosine_scale", "tune")  # settings that a network is built by


def parent_of(start_from: RunOrFolder, method: str, class_names: tuple[str, ...]) -> Run:
    """The run to go on from; ValueError if it is unfinished, of another method, or knows none of the classes."""
    if not isinstance(start_from, (Run, str, os.PathLike)):
        raise ValueError(f"start_from is a run or its folder; got {start_from!r:.80}")
    run = opened(start_from)
    if not run.finished:
        raise ValueError(f"{run!r} cannot be gone on from: finish it first, by dq.fit as it was begun")
    if run.method != method:
        raise ValueError(f"{run.folder} is of the method {run.method}, and not of {method}; go on with the same")
    if not set(run.settings["class_names"]) & set(class_names):
        known, new = (", ".join(map(repr, names[:3])) for names in (run.settings["class_names"], class_names))
        raise ValueError(f"{run.folder} knows none of these classes ({known}, … there; {new}, … here): begin anew")
    return run


def inherited(run: Run, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes, with the network and the options that the run has where they say nothing.

    ValueError for another backbone, or another part of it that is trained.
    """
    told, seen = vars(Settings()) | run.settings["training"], run.settings["data"].get("features")
    own = {name: told[name] for name in NETWORK} | ({"backbone": seen["backbone"], "tune": "heads"} if seen else {})
    given = {name: value for name, value in changes.items() if value is not None}
    for name in ("backbone", "tune"):
        if given.get(name, own[name]) != own[name]:
            other = f"{run.folder} was trained with {name}={own[name]!r}, and not {given[name]!r}"
            raise ValueError(f"{other}; leave {name} out, or start_from")
    return own | run.settings["options"] | given


def seen_alike(run: Run, data: ImageSet, device: str, progress: bool) -> ImageSet:
    """The set as features by the run's own axes, so that what it learned fits.

    ValueError if the set is one of other features, or the encoder's weights are others.
    """
    if data.encoding is None:
        run.model.encoder  # noqa: B018 - the error says where the weights are others
        return as_features(run, data, device, progress)
    if not (data.encoding.axes.shape == run.model.axes.shape and data.encoding.axes.equal(run.model.axes.cpu())):
        raise ValueError(
            f"{data.name} was loaded as features by axes of its own, and {run.folder} has others; load the pictures "
            "without backbone, which start_from knows"
        )
    return data


def say_what_is_kept(run: Run, data: ImageSet, check: bool) -> None:
    """Print which classes are known, new and gone; a warning says how many held-out pictures the run has learned from.

    With ``check`` alone, since picture files are read for it.
    """
    old, new = run.settings["class_names"], data.class_names
    come, gone = ([name for name in one if name not in other] for one, other in ((new, old), (old, new)))
    changes = [f"; {what}: {listed(names)}" for what, names in (("new", come), ("gone", gone)) if names]
    print(f"{data.name} goes on from {run.folder.name}: {len(new) - len(come)} classes are kept{''.join(changes)}")
    for part, split in data.splits.items():
        if check and part != "train" and (learned := learned_from(run.folder, split)):
            warnings.warn(
                f"{len(learned):,} of {len(split):,} {part} pictures are ones that {run.folder} was trained on, by "
                f"content: {listed(learned)}; what is measured on them is memory, and the report says how many. "
                "Divide as it was divided, by the same seed= and test= (but for few pictures), by a test folder or a "
                "column split, or judge the run on other pictures: dq.evaluate(run, OTHERS, other=True)",
                stacklevel=3,
            )


def identity_of(run: Run) -> dict[str, str]:
    """What tells a run to go on from from others: its digest, and its weights' SHA-256."""
    run.model  # noqa: B018 - the error says where there are no weights
    return {"digest": run.settings["digest"], "weights": sha256(run.weights_file)}


@torch.no_grad()
def go_on(model: Method, run: Run, class_names: tuple[str, ...]) -> None:
    """Put what the run learned into a new model: its trunk, and of its classifiers the rows of the classes known here.

    Classes that it does not know keep the weights they were drawn with. ValueError if the networks are of two kinds.
    """
    old, new = run.model.network, model.network
    there = {name: row for row, name in enumerate(run.settings["class_names"])}
    known = [(there[name], row) for row, name in enumerate(class_names) if name in there]
    theirs, own = (torch.tensor(rows) for rows in zip(*known, strict=True))
    had, has = by_class(old), by_class(new)
    other = f"{run.folder} has another kind of network; leave its settings and options as they were"
    if type(old) is not type(new) or [rows.shape[1:] for rows in had] != [rows.shape[1:] for rows in has]:
        raise ValueError(other)
    if isinstance(old, ExpertNetwork) and isinstance(new, ExpertNetwork):
        try:
            new.trunk.load_state_dict(old.trunk.state_dict())
            new.branches.load_state_dict(old.branches.state_dict())
        except RuntimeError as error:
            raise ValueError(f"{other} ({one_line(error)})") from error
        # The trunk knows pixels by these.
        model.mean.copy_(run.model.mean)
        model.std.copy_(run.model.std)
    for source, target in zip(had, has, strict=True):
        target[own] = source[theirs].to(target)


def by_class(network: Heads | ExpertNetwork) -> list[Tensor]:
    """The weights of the classifiers that predict, views ``[C, …]``: of the last set of heads, or of all experts."""
    if isinstance(network, Heads):
        weight = network.weight[-1].view(network.trained, network.num_classes, network.features).movedim(1, 0)
        return [weight] if network.bias is None else [weight, network.bias[-1].T]
    return [weight for classifier in network.classifiers for weight in classifier.parameters()]


@torch.no_grad()
def start_from_encoder(model: Method, backbone: str, heads: Run | None) -> None:
    """Put an encoder's own weights into a model's trunk, and what ``heads`` on its features learned behind it.

    The model then says of a picture what the heads say: random ones would first tear at the trunk (linear probing
    before fine-tuning, Kumar et al., 2022).
    """
    assert isinstance(model.network, ExpertNetwork)
    trunk = model.network.trunk[0]
    assert isinstance(trunk, Trunk)
    trunk.network.load_state_dict(architecture(backbone)[0].state_dict())
    if heads is None:
        return
    assert trunk.turn is not None
    turn = heads.model.axes / heads.model.scale[:, None]
    trunk.turn.weight.copy_(turn.T)
    trunk.turn.bias.copy_(-heads.model.centre @ turn)
    learned = by_class(heads.model.network)
    for k, classifier in enumerate(model.network.classifiers):
        for target, rows in zip(classifier.parameters(), learned, strict=True):
            target.copy_(rows[:, k])
