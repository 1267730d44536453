"""What the settings of a run may hold, whoever wrote them: checked before anything is built of them."""

from __future__ import annotations

import json
import warnings
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dqroute.methods.base import CLASSES, STRICT, Problem, Text
from dqroute.models.experts import ExpertNetwork


class AskedOptions(BaseModel):
    """A method's options, each its own; the method refuses those that it does not have."""

    model_config = STRICT | ConfigDict(extra="allow")

    experts: int = Field(1, ge=0, le=64)


Format = Literal[1]
FORMAT: Format = 1


class Asked(BaseModel):
    """All of ``settings.json``; a newer version may say more."""

    model_config = STRICT | ConfigDict(extra="ignore")

    format: Format
    digest: Text
    method: Text
    options: AskedOptions
    training: dict[str, Any]
    seed: int = Field(ge=0, lt=2**63)
    data: dict[str, Any]
    problem: Problem
    class_names: Annotated[list[Text], Field(min_length=1, max_length=CLASSES)]


def checked_asked(settings: Any, place: object) -> Asked:
    """The settings of a run as this version understands them; ValueError names the place and what is wrong first."""
    try:
        asked = Asked.model_validate_json(json.dumps(settings))
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        got = "" if wrong["type"] == "missing" else f"; got {str(wrong['input'])[:40]!r}"
        said = f"{'.'.join(map(str, wrong['loc'])) or 'settings'}: {wrong['msg'][:200]}{got}"
    else:
        groups, number = asked.problem.groups, len(asked.problem.counts)
        lengths = {len(asked.class_names), len(asked.problem.difficulty or asked.problem.counts)}
        if sorted(groups.many + groups.medium + groups.few) == list(range(number)) and lengths == {number}:
            return asked
        said = f"groups, class_names or difficulty are not those of the {number:,} classes that counts has"
    remedy = "restore it, take the version that wrote it, or remove the folder"
    raise ValueError(f"{place} describes no run of this version ({said}); {remedy}")


def weights_asked(asked: Asked) -> int:
    """How many weights the network that is asked for has, at the least; nothing is allocated for it."""
    problem, experts = asked.problem, asked.options.experts
    if (needs := problem.encoder) is not None:
        heads = experts * (1 + problem.folds) * len(problem.counts) * needs.components
        return heads + needs.width * needs.components
    with torch.random.fork_rng(devices=[]), torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an encoder's own weights, which have no place here
        network = ExpertNetwork(
            *(problem.backbone, len(problem.counts), problem.channels, 1, problem.shared_depth, problem.branch_width),
            tune=problem.tune,
            components=problem.components,
        )
    own = [*network.branches.parameters(), *network.classifiers.parameters()]
    return sum(p.numel() for p in network.trunk.parameters()) + experts * sum(p.numel() for p in own)
