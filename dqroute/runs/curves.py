"""The trade-off curve of a run, computed once and kept in its folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan, nan

import torch

from dqroute.core.checks import choose
from dqroute.core.tradeoff import Point, trade_off
from dqroute.data.disk import keep_json, read_json
from dqroute.data.image_set import ImageSet
from dqroute.models.device import resolve_device
from dqroute.runs.evaluate import check_data, data_of
from dqroute.runs.run import Run

Curve = list[Point]


def trade_off_of(
    run: Run, data: ImageSet | None = None, *, split: str = "test", device: str = "auto"
) -> dict[str, Curve]:
    """How overall accuracy pays for few-shot accuracy, see :mod:`dqroute.core.tradeoff`; kept in the run's folder.

    Args:
        run: a finished run.
        data: the image set; by default the one the run was trained on in this process.
        split: ``"test"``, or ``"val"`` for choices.
        device: where to compute.

    Returns:
        The points of ``"routed"``, the run's own prediction, and of ``"plain mean"``, the mean of its experts' logits.

    Raises:
        ValueError: if the data are not those of the run, or have no such split.
    """
    choose("split", split, ("test", "val"))
    check_data(run, data)
    path = run.folder / f"tradeoff-{split}.json"
    if path.is_file():
        return {name: [restored(point) for point in points] for name, points in read_json(path).items()}
    chosen = data_of(run, data, split)
    model = run.model.to(resolve_device(device))
    log_p: dict[str, list[torch.Tensor]] = {"routed": [], "plain mean": []}
    with torch.no_grad():
        for images in chosen.splits[split].chunks(256):
            outputs = model.outputs(images)
            log_p["routed"].append(model.fuse(outputs).log_probability.cpu())
            log_p["plain mean"].append(outputs.logits.mean(dim=0).cpu())
    labels = chosen.splits[split].labels
    log_pi = model.log_pi.cpu()
    curves = {name: trade_off(torch.cat(rows), labels, chosen.groups, log_pi) for name, rows in log_p.items()}
    keep_json(path, {name: [rounded(point) for point in points] for name, points in curves.items()})
    return curves


def curves_by_method(
    runs: Iterable[Run], split: str = "test", plain_mean_of: str = "dqroute"
) -> dict[str, list[Curve]]:
    """The routed curves of each method, one a run; of one method the plain mean of its experts beside it."""
    found: dict[str, list[Curve]] = {}
    for run in runs:
        curves = trade_off_of(run, split=split)
        found.setdefault(run.method, []).append(curves["routed"])
        if run.method == plain_mean_of:
            found.setdefault(f"{run.method}, plain mean", []).append(curves["plain mean"])
    return found


def rounded(point: Sequence[float]) -> list[float | None]:
    """A point as JSON has it; six digits tell a hundred thousand images apart. JSON knows no NaN."""
    return [None if isnan(value) else round(value, 6) for value in point]


def restored(point: Sequence[float | None]) -> Point:
    """The inverse of :func:`rounded`."""
    return Point(*(nan if value is None else value for value in point))
