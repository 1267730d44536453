"""Which unlabelled pictures are worth a label: what the model cannot tell apart, rare classes first."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

import pandas as pd
import torch
from torch.nn import functional as F

from dqroute.core.checks import checked_whole
from dqroute.data.alike import ALIKE
from dqroute.data.files.reading import listed
from dqroute.data.options import names_checked
from dqroute.models.device import resolve_device
from dqroute.runs.classify import Picture, looked_at, pictures_of
from dqroute.runs.run import RunOrFolder, opened


@names_checked
def label_next(
    run: RunOrFolder,
    files: Iterable[Picture] | Picture,
    most: int = 20,
    *,
    batch_size: int = 256,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """The pictures that a label would decide most about, the best first: ``label_next(run, "UNLABELLED")``.

    Those between whose two likeliest classes ``a`` and ``b`` the model hesitates, the more so the fewer training images
    these have: the largest ``(1 - (p_a - p_b)) (1 / n_a + 1 / n_b)``, p for balanced classes. Of pictures that are
    nearly the same, as the frames of a burst are, one is taken.
    On four folders of 549 pictures 36 such labels brought no more than 36 at random (``benchmarks/small_folder.py``).

    Run, files, ``batch_size``, ``device`` and ``progress`` are those of :func:`dqroute.classify`; ``most`` is how many
    rows at most.

    Returns:
        A table with a row a picture. Its columns are ``file``; ``class`` and ``class 2``, between which the model
        hesitates, their ``probability`` and ``probability 2``; ``why``, in words.
    """
    run, files = opened(run), pictures_of(files)
    checked_whole("most", most, 1)
    model, names = run.model.to(resolve_device(device)), run.settings["class_names"]
    p, directions = [torch.empty(0, len(names))], [torch.empty(0, model.network.features).half()]
    bad: list[str] = []
    for outputs, wrong in looked_at(run, files, batch_size, progress):
        bad += wrong
        if outputs is not None:
            with torch.no_grad(), model.unadapted():
                p.append(model.fuse(outputs).log_probability.exp().cpu())
            directions.append(F.normalize(outputs.features[0].float(), dim=1).half().cpu())
    if unread := [os.fspath(file) for file, problem in zip(files, bad, strict=True) if problem]:
        warnings.warn(f"passed over what cannot be read: {listed(unread)}", stacklevel=3)
    read = [os.fspath(file) for file, problem in zip(files, bad, strict=True) if not problem]
    best, which = torch.cat(p).topk(2, dim=1)
    counts = model.counts.cpu()
    worth = (1 - (best[:, 0] - best[:, 1])) * (1 / counts.double())[which].sum(dim=1)
    seen, taken = torch.cat(directions).float(), list[int]()
    for i in worth.argsort(descending=True, stable=True).tolist():
        if len(taken) < most and not (taken and (seen[taken] @ seen[i]).max() >= ALIKE):
            taken.append(i)
    rows = []
    for i in taken:
        (a, b), (p_a, p_b) = which[i].tolist(), best[i].tolist()
        why = f"{names[a]} or {names[b]}: {p_a:.0%} or {p_b:.0%}, learned from {counts[a]} and {counts[b]} images"
        rows.append((read[i], names[a], p_a, names[b], p_b, why))
    return pd.DataFrame(rows, columns=["file", "class", "probability", "class 2", "probability 2", "why"])
