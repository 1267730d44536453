"""Be the router: pictures on which three experts disagree, to be decided by a reader, beside what routers decide."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import torch
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES
from dqroute.core.rings import RingFusion
from dqroute.data.draw import generator
from dqroute.data.image_set import ImageSet
from dqroute.data.markup import address, image_of
from dqroute.methods.base import in_batches
from dqroute.methods.dqroute import DQRoute
from dqroute.runs.run import Run
from dqroute.show.live import Live, embed
from dqroute.show.style import new_figure

MEAN, FOOLED, HONEST = "plain mean", "rings, judged on training images", "rings, judged out of fold"
ORACLE = "best expert (oracle)"


class Heard(NamedTuple):
    """What three experts, and those who choose among them, say of pictures.

    Attributes:
        says: int64 ``[3, N]``, each expert's answer; sure: ``[3, N]``, its own probability, 0 to 1.
        answers: each router's answers, int64 ``[N]``; places: what the two that know rings take a picture for,
            ``[N, 3]``, the probabilities of many, medium and few.
    """

    says: Tensor
    sure: Tensor
    answers: dict[str, Tensor]
    places: dict[str, Tensor]


def heard(run: Run, data: ImageSet) -> Heard:
    """What the experts and the routers say of the test pictures of the set that the run was trained on.

    All routers put the same three experts together. Both ring fusions have the same form; they differ in the
    predictions that they are fitted on, those for images that the experts were trained on or those out of fold.

    Raises:
        ValueError: unless the run has three experts of nested class sets, fused by rings that were judged out of fold.
    """
    model = run.model
    honest = model.criterion.rings if isinstance(model, DQRoute) else None
    if data.test is None:
        raise ValueError(f"the game is played with test pictures, and {data.name} has none")
    if honest is None or honest.experts != 3 or model.judge != "out-of-fold":
        raise ValueError(
            "three experts are heard, and judged out of fold: train with dq.fit('dqroute', data, gaussian=False), the "
            "data being features: dq.load(..., backbone=...)"
        )
    with torch.no_grad():
        test, learned = (
            torch.cat([model.outputs(batch).logits for batch in in_batches(split, 256)], dim=1)
            for split in (data.splits["test"], data.train)
        )
        fooled = RingFusion(model.class_sets(), 3)
        fooled.fit(learned, data.train.labels)
        sure, says = test.softmax(dim=2).max(dim=2)
        answers = {MEAN: test.mean(dim=0).argmax(dim=1)}
        answers |= {name: by(test).log_probability.argmax(dim=1) for name, by in ((FOOLED, fooled), (HONEST, honest))}
        places = {name: by.log_rings(test).exp() for name, by in ((HONEST, honest), (FOOLED, fooled))}
    return Heard(says, sure, answers, places)


def be_the_router(run: Run, data: ImageSet, held: int = 100, seed: int = 0) -> Live:
    """Twenty pictures, three experts' answers, and the reader believes one; beside them the routers on the same twenty.

    Of the test pictures on which the three experts do not all agree, ``held`` are drawn by the seed, none for what
    anybody says of it. The oracle is right wherever some expert is.

    Args:
        run: of the method ``dqroute``, with three experts judged out of fold; data: what it was trained on.
    """
    told, test = heard(run, data), data.splits["test"]
    truth = test.labels
    divided = (told.says != told.says[0]).any(dim=0).nonzero().flatten()
    if len(divided) < 20:
        raise ValueError(f"the experts disagree on {len(divided)} test pictures; a round wants 20")
    drawn = divided[torch.randperm(len(divided), generator=generator("router", seed))[:held]]
    right = {name: answer == truth for name, answer in told.answers.items()}
    right[ORACLE] = (told.says == truth).any(dim=0)
    shares = {name: round(100 * hit[divided].double().mean().item(), 1) for name, hit in right.items()}
    pictures = [
        {
            "image": address(image_of(image)),
            "truth": truth[i].item(),
            "says": told.says[:, i].tolist(),
            "sure": [round(100 * p) for p in told.sure[:, i].tolist()],
            "places": [[round(p, 3) for p in told.places[name][i].tolist()] for name in (HONEST, FOOLED)],
            "answers": [answer[i].item() for answer in told.answers.values()],
        }
        for i, image in zip(drawn.tolist(), test.take(drawn), strict=True)
    ]
    names = list(data.class_names)
    shown = {
        "pictures": pictures,
        "names": names,
        "spoken": [spoken(name) for name in names],
        "group": data.groups.of_class().tolist(),
        "groups": list(GROUP_NAMES),
        "routers": list(right),
        "shares": list(shares.values()),
        "divided": len(divided),
        "all": len(truth),
    }
    figure, (ax,) = new_figure(height=2.0)
    bars = ax.barh(list(shares), list(shares.values()), color=["#8c8c8c", "#a23b72", "#1c1c1c", "#c9d6df"])
    ax.bar_label(bars, fmt="%.0f", padding=3)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="right where three experts disagree, %", xlim=(0, 100))
    alt = (
        f"On the {len(divided):,} of {len(truth):,} test pictures on which three experts disagree, their plain mean is "
        f"right on {shares[MEAN]:.0f} %, rings judged on training images on {shares[FOOLED]:.0f} %, rings judged out "
        f"of fold on {shares[HONEST]:.0f} %; some expert is right, so that an oracle is, on {shares[ORACLE]:.0f} %."
    )
    return embed("router", shown, figure, alt)


def spoken(name: str) -> str:
    """A class in words: a character as it is called ("small l", "capital I", "capital omega"), else its name."""
    if len(name) != 1:
        return name
    words = unicodedata.name(name).lower().replace("lamda", "lambda").split()
    if "letter" not in words:
        return " ".join(words)
    return f"{words[1]} {name if words[0] == 'latin' else words[-1]}"
