"""What the settings of a run may hold, whoever wrote them: checked before anything is built of them."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dqroute.models.experts import ExpertNetwork

CLASSES, NAME = 100_000, 1000
Counts = Annotated[list[Annotated[int, Field(ge=0, le=2**40)]], Field(min_length=1, max_length=CLASSES)]
Classes = Annotated[list[int], Field(max_length=CLASSES)]
Channels = Annotated[list[float], Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=NAME)]
Width = Annotated[int, Field(ge=0, le=65_536)]
Side = Annotated[int, Field(ge=1, le=16_384)]


class Strict(BaseModel):
    """True is no number, and NaN is none either; a name that nobody knows is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class AskedEncoder(Strict):
    """See :class:`dqroute.methods.base.EncoderNeeds`."""

    weights: Text
    size: Side
    interpolation: Text
    width: Width
    components: Width


class AskedGroups(Strict):
    """See :class:`dqroute.core.long_tail.ShotGroups`."""

    many: Classes
    medium: Classes
    few: Classes
    rule: Text


class AskedProblem(Strict):
    """See :class:`dqroute.methods.base.Problem`."""

    counts: Counts
    groups: AskedGroups
    channels: int = Field(ge=1, le=64)
    mean: Channels
    std: Channels
    backbone: Text = ""
    shared_depth: int = Field(1, ge=1, le=100)
    branch_width: float = Field(1.0, ge=0.05, le=16)
    size: Annotated[list[Side], Field(max_length=3)] | None = None
    tune: Text | int = "all"
    components: Width = 0
    encoder: AskedEncoder | None = None
    folds: int = Field(0, ge=0, le=100)
    difficulty: Annotated[list[float], Field(max_length=CLASSES)] | None = None
    scale: float = Field(1.0, ge=0.1, le=1000)
    fit: Text = "crop"


class AskedOptions(Strict):
    """A method's options, each its own; the method refuses those that it does not have."""

    model_config = ConfigDict(extra="allow")

    experts: int = Field(1, ge=0, le=64)


class Asked(Strict):
    """All of ``settings.json``; a newer version may say more."""

    model_config = ConfigDict(extra="ignore")

    digest: Text
    method: Text
    options: AskedOptions
    training: dict[str, Any]
    seed: int = Field(ge=0, lt=2**63)
    data: dict[str, Any]
    problem: AskedProblem
    class_names: Annotated[list[Text], Field(min_length=1, max_length=CLASSES)]


def checked_asked(settings: Any, place: object) -> Asked:
    """The settings of a run as this version understands them; ValueError names the place and what is wrong first."""
    try:
        asked = Asked(**settings)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        got = "" if wrong["type"] == "missing" else f"; got {str(wrong['input'])[:40]!r}"
        said = f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg'][:200]}{got}"
    else:
        problem, number = asked.problem, len(asked.problem.counts)
        members = sorted(problem.groups.many + problem.groups.medium + problem.groups.few)
        lengths = {"class_names": len(asked.class_names), "difficulty": len(problem.difficulty or problem.counts)}
        if members == list(range(number)) and set(lengths.values()) == {number}:
            return asked
        said = f"groups, class_names or difficulty are not those of the {number:,} classes that counts has"
    raise ValueError(f"{place} describes no run of this version ({said}); restore it, or remove the folder")


def weights_asked(asked: Asked) -> int:
    """How many weights the network that is asked for has, at the least; nothing is allocated for it."""
    problem, experts = asked.problem, asked.options.experts
    if (needs := problem.encoder) is not None:
        heads = experts * (1 + problem.folds) * len(problem.counts) * needs.components
        return heads + needs.width * needs.components
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = ExpertNetwork(
            *(problem.backbone, len(problem.counts), problem.channels, 1, problem.shared_depth, problem.branch_width),
            tune=problem.tune,
            components=problem.components,
        )
    own = [*network.branches.parameters(), *network.classifiers.parameters()]
    return sum(p.numel() for p in network.trunk.parameters()) + experts * sum(p.numel() for p in own)
