"""Evaluation of a run: its reports, and the curves of what few-shot accuracy costs."""

from __future__ import annotations

from dataclasses import replace
from math import isnan, nan
from typing import NamedTuple

import torch
from torch import Tensor

from dqroute.core.outputs import ExpertOutputs
from dqroute.data.alike import own_leak
from dqroute.data.feature_set import OWN
from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.data.options import names_checked
from dqroute.measures.curves import Point, trade_off
from dqroute.methods.base import Method
from dqroute.methods.prediction import Prediction
from dqroute.models.device import resolve_device
from dqroute.runs.card import write_card
from dqroute.runs.judged import out_of_fold
from dqroute.runs.others import EVERY, other_pictures
from dqroute.runs.own_data import at_work, checked_data
from dqroute.runs.pictures import remembered
from dqroute.runs.report import Report
from dqroute.runs.run import OUT_OF_FOLD, REPORT, TRADE_OFF, Run, RunOrFolder, opened
from dqroute.runs.score import score

ON_PURPOSE = "if these are other labelled pictures, or changed ones, on purpose: dq.evaluate(run, data, other=True)"


@names_checked
def evaluate(
    run: RunOrFolder,
    data: ImageSet | None = None,
    *,
    split: str | None = None,
    device: str = "auto",
    other: bool = False,
) -> Report:
    """Evaluate a finished run on ``"test"`` (None), or ``"val"`` for choices; a report that it has already is returned.

    ``"out-of-fold"`` is of the training images, each as those heads have it that never saw it, and calibration and
    fusion fitted without it; a run without test images is evaluated so. It tends to lie somewhat below that on new
    pictures, those who judge having trained on four fifths, and of some hundred some points off either way.

    Args:
        run: from :func:`dqroute.fit`, or its folder; data: its image set, unless the run has it; device: where to
            compute.
        other: whether ``data`` are other labelled pictures, on purpose. Their classes are matched by name, some may be
            missing; of a set without test images of its own ``"all"`` are taken. Such a report is not kept, and
            features of the pictures are, in the cache.

    Raises:
        ValueError: if the set is not that of the run, or without such a split; if a file of it cannot be read, which is
            named, and costs the run nothing; with ``other`` if it has a class that the run does not know.
    """
    run = opened(run)
    if other:
        if not isinstance(data, ImageSet):
            raise ValueError("other labelled pictures are a set from dq.load: dq.evaluate(run, data, other=True)")
        # What was merely held out of one pile is no test set of its own.
        split = split or (EVERY if data.test is None or "test" in data.identity else "test")
        model = run.model.to(resolve_device(device))  # before it looks at the pictures
        parts, seen = other_pictures(run, data, split)
        labels = torch.cat([part.labels for part in parts])
        if split == EVERY and data.test is not None:
            print(f"{data.name}: all {len(labels):,} pictures are judged on, those that were held out and the others")
        columns = zip(*(predicted(model, part) for part in parts), strict=True)
        together = data.together_in(*(data.splits if split == EVERY else [split]))
        # What was memorised is of its own set.
        report = report_of(run, Said(Prediction(*map(torch.cat, columns)), labels, together), split)
        return replace(report, learned=seen)
    data = checked_data(run, data, split := split or "test", ON_PURPOSE)
    if split != (split := run.split_for(split)):
        print(f"{run.folder.parent.name} has no test images: this is out of fold, of training images")
    if (known := run.report(split)) is not None:
        return known
    report = report_of(run, said_of(run, data, split, device), split)
    if split == OUT_OF_FOLD:
        near, learned = (
            run.near_copies[0] if run.near_copies and run.settings["data"].get("name") in OWN else None,
            None,
        )
    else:
        copies, learned = own_leak(data), remembered(run.folder, split)
        near = None if copies is None else copies.leaking[split]
    knows, honest = (run.provenance.get(f"{of}_accuracy") for of in ("training", "out_of_fold"))
    report = replace(report, near=near, learned=learned, memorised=None if honest is None else knows - honest)
    run.keep(REPORT.format(split=split), report.to_json())
    write_card(run)
    return report


class Said(NamedTuple):
    """What a run says of images, and what is known of these."""

    prediction: Prediction
    labels: Tensor
    groups: Tensor | None  # of those that stand or fall together, int64 [N]; None where each stands alone, or unknown


def said_of(run: Run, data: ImageSet | None, split: str, device: str) -> Said:
    """What a run says of the images of a split of its own set, or out of fold, for balanced classes."""
    together = None if data is None else data.together_in("train" if split == OUT_OF_FOLD else split)
    if split == OUT_OF_FOLD:
        return Said(*out_of_fold(run, data), None if together is None else together[run.judged["images"]])
    model, images = at_work(run, data, split, device)
    return Said(predicted(model, images), images.labels, together)


def predicted(model: Method, images: AnySplit) -> Prediction:
    """What a model says of images, for balanced classes."""
    with model.unadapted():
        return model.predict(images)


def report_of(run: Run, said: Said, split: str) -> Report:
    """The report of a run on images of which it said this."""
    sets, counts = run.model.class_sets().cpu(), run.model.counts.cpu()
    return run.named(score(said.prediction, said.labels, run.groups, sets, split, counts, said.groups))


def trade_off_of(
    run: RunOrFolder, data: ImageSet | None = None, *, split: str = "test", device: str = "auto"
) -> dict[str, list[Point]]:
    """How overall accuracy pays for few-shot accuracy, see :mod:`dqroute.measures.curves`; asked for like a report.

    Returns the points of ``"routed"``, the run's own prediction, of ``"plain mean"``, its experts' mean logits, and of
    ``"calibrated"``, these after the method's calibration.
    """
    run = opened(run)
    data, file = checked_data(run, data, split), TRADE_OFF.format(split=split)
    if (known := run.read(file)) is not None:
        # JSON knows no NaN.
        return {name: [Point(*(nan if x is None else x for x in p)) for p in points] for name, points in known.items()}
    model, images = at_work(run, data, split, device)
    with torch.no_grad(), model.unadapted():
        said = [three_ways(model, model.outputs(batch)) for batch in images.chunks(256)]
    log_p, log_pi = {name: torch.cat([part[name] for part in said]) for name in said[0]}, model.log_pi.cpu()
    curves = {name: trade_off(rows, images.labels, run.groups, log_pi) for name, rows in log_p.items()}
    # Six digits tell a hundred thousand images apart.
    plain = {name: [[None if isnan(x) else round(x, 6) for x in p] for p in points] for name, points in curves.items()}
    run.keep(file, plain)
    return curves


def three_ways(model: Method, outputs: ExpertOutputs) -> dict[str, Tensor]:
    """Log-probabilities ``[B, C]``: as the model fuses its experts, of their mean logits, and of these calibrated."""
    mean = outputs.logits.mean(dim=0)
    ways = {"routed": model.fuse(outputs).log_probability, "plain mean": mean.log_softmax(dim=1)}
    return {name: log_p.cpu() for name, log_p in (ways | {"calibrated": model.calibration(mean)}).items()}
