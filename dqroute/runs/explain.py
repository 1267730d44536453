"""One prediction taken apart: what each expert says, how much it counts, and which training images are alike."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from dqroute.core.checks import checked_whole, shown
from dqroute.core.long_tail import GROUP_NAMES
from dqroute.data.files.in_memory import Pixels
from dqroute.data.files.reading import checked_files
from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.data.markup import box, line, percent, table
from dqroute.data.options import names_checked
from dqroute.methods.base import Method, in_batches
from dqroute.models.heads import Heads
from dqroute.runs.classify import Picture, as_seen
from dqroute.runs.own_data import checked_data
from dqroute.runs.run import RunOrFolder, opened


class Opinion(NamedTuple):
    """What one expert says of an image; probabilities, confidence and weight are 0 to 1."""

    expert: int  # from 1
    classes: int  # how many it is there for, the size of S_k
    says: str  # the class that it would give alone, of all: one beyond S_k, too
    probability: float  # its own, of that class
    answer: float  # its own, of the class that was answered
    confidence: float  # its detector's probability that the image belongs to its classes; 1 without a detector
    weight: float  # its share in the fused prediction; they sum to 1
    gaussian: bool = False  # whether it is the one that is not trained, see :meth:`dqroute.models.heads.Heads.meet`

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        return "the Gaussian" if self.gaussian else f"expert {self.expert}"


class Explanation(NamedTuple):
    """Why an image was called what it was called."""

    answer: str
    probability: float  # of the answer, 0 to 1
    ranking: list[tuple[str, float]]  # the most probable classes, the answer first
    experts: list[Opinion]
    groups: dict[str, float]  # how probable each shot group's classes are together
    group: str  # the answer's

    @property
    def why(self) -> str:
        """What decides, in a sentence, even where each expert alone would have said something else."""
        told = ", ".join(f"{name} {percent(p)}" for name, p in self.groups.items())
        inside = percent(self.probability / self.groups[self.group])
        alone = "what counts is the product, not what each expert says alone"
        return f"by group {told}; of {self.group} {self.answer} has {inside}: {alone}"

    def __repr__(self) -> str:
        ranked = ", ".join(f"{name} {percent(p)}" for name, p in self.ranking)
        said = [
            f"{e.name} says {e.says} {percent(e.probability)}, of {self.answer} {percent(e.answer)}; "
            f"confidence {percent(e.confidence)}, weight {percent(e.weight)}"
            for e in self.experts
        ]
        return "\n".join([ranked, *said, self.why])

    def _repr_html_(self) -> str:
        """For notebooks: the most probable classes, and what each expert says."""
        ranked = table([(name, percent(p)) for name, p in self.ranking], ("class", "probability"))
        rows = [
            (e.name, e.says, *map(percent, (e.probability, e.answer, e.confidence, e.weight))) for e in self.experts
        ]
        head = ("expert", "says", "probability", "of the answer", "confidence", "weight")
        return box(self.answer, ranked, table(rows, head), line(self.why))


class Neighbours(NamedTuple):
    """The most similar images of a split, the nearest first."""

    indices: Tensor  # int64 [N, k]
    similarity: Tensor  # [N, k], -1 to 1


@names_checked
def explain(run: RunOrFolder, image: Picture | Pixels, top: int = 3) -> Explanation:
    """Take a finished run's prediction for one image apart, and rank the ``top`` most probable classes.

    The run may be given by its folder. The image is a picture as :func:`dqroute.classify` takes them, or a uint8 tensor
    ``[channels, H, W]`` as it is; ValueError if it is none that the model takes.
    """
    run, top = opened(run), checked_whole("top", top, 1)
    image = image if isinstance(image, Tensor) else as_seen(run.model, image)[0]
    model, names = run.model, run.settings["class_names"]
    if image.ndim != 3:
        raise ValueError(f"explain takes one image [channels, height, width]; got {list(image.shape)}")
    outputs = model.outputs(image[None])
    prediction = model.answers(outputs)
    answer, p, sizes = int(prediction.label), prediction.probabilities[0], model.class_sets().sum(dim=1)
    best, which = p.topk(min(top, len(names)))
    ranking = [(names[c], share) for c, share in zip(which.tolist(), best.tolist(), strict=True)]
    experts = []
    for k, alone in enumerate(outputs.logits[:, 0].softmax(dim=1)):
        says = alone.argmax()
        of = prediction.confidence[0, k].item(), prediction.expert_weights[0, k].item()
        experts.append(Opinion(k + 1, int(sizes[k]), names[says], alone[says].item(), alone[answer].item(), *of))
    if isinstance(model.network, Heads) and model.network.gaussian:
        experts[-1] = experts[-1]._replace(gaussian=True)
    groups = {name: p[[*run.groups[name]]].sum().item() for name in GROUP_NAMES if run.groups[name]}
    group = next(name for name in groups if answer in run.groups[name])
    return Explanation(names[answer], prediction.probability.item(), ranking, experts, groups, group)


@names_checked
def nearest(
    run: RunOrFolder, images: Picture | Pixels | Sequence[Picture | Pixels], among: AnySplit, k: int = 5
) -> Neighbours:
    """The ``k`` images of a split, most often the training split, that the network sees as most alike.

    ``sim(x, x') = 1/K Σ_k cos(f_k(x), f_k(x'))``, ``f_k`` what expert k's classifier reads: behind a pretrained encoder
    its features, standardised, the same for all experts. :func:`dqroute.runs.explain.alike` tells the files.

    Images are pictures as :func:`dqroute.classify` takes them, or one, or a uint8 tensor ``[N, channels, H, W]``;
    ValueError if they are none that the model takes, or the split has fewer than ``k``.
    """
    run = opened(run)
    if not isinstance(among, AnySplit):
        raise ValueError(f"neighbours are looked for in a split, as in among=data.train; got {shown(among)}")
    if (k := checked_whole("k", k, 1)) > len(among):
        raise ValueError(f"k is how many neighbours to find among {len(among)} images; got {k}")
    images = as_seen(run.model, images)
    found = (directions(run.model, images) @ directions(run.model, among).T).topk(k, dim=1)
    return Neighbours(found.indices, found.values)


@names_checked
def alike(
    run: RunOrFolder, pictures: Picture | Sequence[Picture], data: ImageSet | None = None, k: int = 5
) -> pd.DataFrame:
    """The training pictures that are most like some picture files, ``k`` rows a file, the most similar first.

    ``data`` is the run's image set, unless it has it. The table's columns are ``file``; ``like``, the training
    picture's file (or its number, where no files are known); its ``class``; ``similarity``, -1 to 1: see
    :func:`dqroute.nearest`.
    """
    run = opened(run)
    if (data := checked_data(run, data, "test")) is None:
        raise ValueError(f"{run!r} was opened without its images; pass the image set too: alike(run, pictures, data)")
    files, train, k = checked_files(pictures), data.train, checked_whole("k", k, 1)
    found = nearest(run, files, train, k)
    index = found.indices.flatten()
    table = {"file": [os.fspath(file) for file in files for _ in range(k)]}
    table["like"] = [train.names[i] if train.names else i for i in index.tolist()]
    table["class"] = [data.class_names[c] for c in train.labels[index].tolist()]
    return pd.DataFrame(table | {"similarity": found.similarity.flatten().tolist()})


def directions(model: Method, images: Tensor | AnySplit, batch_size: int = 256) -> Tensor:
    """The experts' features as one vector of length 1 an image, ``[N, K·D]``: products are mean cosines.

    Where all experts read the same features, ``[N, D]``.
    """
    rows = []
    experts = 1 if isinstance(model.network, Heads) else model.network.experts
    for batch in in_batches(images, batch_size):
        features = F.normalize(model.outputs(batch).features[:experts], dim=2)
        rows.append(features.permute(1, 0, 2).flatten(1).cpu() / len(features) ** 0.5)
    return torch.cat(rows)
