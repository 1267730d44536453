"""The card of a trained model, in plain words: what it is, what it learned from, how well it does, how to load it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dqroute.core.long_tail import GROUP_NAMES
from dqroute.data.markup import percent
from dqroute.methods.base import METHODS
from dqroute.models.encoders import is_encoder, licence_of
from dqroute.runs.report import Report, copied
from dqroute.runs.run import CARD, SPLITS, Run


def write_card(run: Run) -> None:
    """Write ``card.md`` into the folder of a finished run: done at the end of a training, and again when evaluated."""
    run.keep(CARD, card(run))


def card(run: Run) -> str:
    """The card as Markdown, the same for the same run; of settings, provenance and the reports that there are."""
    asked, told, reports = run.settings, run.provenance, reports_of(run)
    names, counts = asked["class_names"], asked["problem"]["counts"]
    summary = METHODS[run.method].summary if run.method in METHODS else ""
    group = {c: name for name in GROUP_NAMES for c in run.groups[name]}
    lines = [
        f"# {run.method} on {plain(run.folder.parent.name)}",
        f"A classifier of pictures into {len(names)} classes. {summary}",
        f"It was trained on {sum(counts):,} pictures, {min(counts):,} to {max(counts):,} a class, by dqroute "
        f"{told.get('dqroute')} with seed {run.seed}, in {run.seconds:.0f} s. {network_of(asked)}"
        + " It went on from another run, and knows that one's pictures, too."
        * ("start_from" in asked),
        "## How well it does",
        *measures_of(reports),
        *judged_by(run),
        "## Classes",
        table(
            ("class", "training pictures", "shot group", *(f"right, {report.split}" for report in reports)),
            [(names[c], f"{counts[c]:,}", group[c], *(r.sure(c) for r in reports)) for c in range(len(names))],
        ),
        "## What decides it",
        *(listed(name, values) for name, values in decisive(asked).items()),
        f"- fingerprint of the pictures: {told.get('data_fingerprint')}",
        "## How to load it",
        f'```python\nimport dqroute as dq\n\nrun = dq.Run("{run.folder.name}")  # this folder\n'
        'dq.classify(run, ["a.jpg"])\n```',
        "Settings and weights are JSON and safetensors: loading runs no code of this folder's.",
    ]
    return "\n\n".join(lines) + "\n"


def decisive(asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What was asked for and had an effect: a network on features, say, has nothing of the one that was not built."""
    features, training = asked["data"].get("features", {}), dict(asked["training"])
    if training.get("optimizer") == "adamw":
        training["momentum"] = None
    if features or is_encoder(asked["problem"]["backbone"]):
        training |= {"shared_depth": None, "branch_width": None} | ({"backbone": None} if features else {})
    data = asked["data"] | {"features": None} | features  # their size is the one that pictures were seen at
    parts = {"data": data, "training": training, "options": asked["options"], "start_from": asked.get("start_from", {})}
    of = {name: {n: v for n, v in part.items() if v is not None} for name, part in parts.items()}
    return {name: part for name, part in of.items() if part or name == "options"}


def reports_of(run: Run) -> list[Report]:
    """The evaluations that there are and can be read."""
    found = []
    for split in SPLITS:
        with suppress(ValueError):
            if run.split_for(split) == split and (report := run.report(split)):
                found.append(report)
    return found


def network_of(asked: Mapping[str, Any]) -> str:
    """What the network is and whose weights it began with."""
    encoder, backbone = asked["problem"].get("encoder"), asked["problem"]["backbone"]
    if encoder or is_encoder(backbone):
        kind = "Classifiers on the features of" if encoder else "Trained on from"
        return f"{kind} {backbone}. Its weights: {licence_of(backbone)}."
    start = asked["training"].get("pretrained")
    return f"A {backbone}, trained from {f'the weights {start}; see their own licence' if start else 'nothing'}."


def measures_of(reports: Sequence[Report]) -> list[str]:
    """A table of the measures, a row a split."""
    if not reports:
        return ["It has not been evaluated."]
    measures = ("balanced", "overall", *GROUP_NAMES, "worst", "harmonic")
    rows = [(r.split, f"{r.images:,}", *map(r.said, measures), percent(r.calibration.get("overall"))) for r in reports]
    rule = "Accuracy. Balanced: mean of the classes. Worst: mean of the worst fifth of the classes. In brackets: 95 % "
    rule += f"intervals, over groups where pictures belong together. Shot groups: {reports[0].groups}."
    cautions = [f"On {report.split}: {said}." for report in reports for said in report.cautions()]
    return [table(("split", "pictures", *measures, "calibration error"), rows), *map(plain, cautions), plain(rule)]


def judged_by(run: Run) -> list[str]:
    """Whose word calibration, difficulty and fusion were learned from."""
    if "judge" not in (told := run.provenance):
        return []
    fair = told["judge"] == "out-of-fold"
    who = "heads that never saw the picture (out of fold)" if fair else "the network that was trained on the pictures"
    said = [f"What judges within it was learned from {who}."]
    if (honest := told.get("out_of_fold_accuracy")) is not None:
        known = percent(told.get("training_accuracy"))
        said.append(f"It is right on {known} of its training pictures, {percent(honest)} out of fold.")
        if (near := run.near_copies) and near[0]:
            said.append(f"Out of fold {copied(*near)}.")
    return [" ".join(said)]


def listed(name: str, values: Mapping[str, Any]) -> str:
    """Settings as one item of a list."""
    said = ", ".join(f"{key} {plain(str(value))}" for key, value in values.items())
    return f"- {name}: {said or 'none'}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(map(plain, row))} |" for row in (head, ["---"] * len(head), *rows))


def plain(text: str) -> str:
    """Text that Markdown takes as it stands, on one line: a class may be called ``<script>`` or ``a|b``."""
    marks = str.maketrans({"<": "&lt;", ">": "&gt;", **{mark: f"\\{mark}" for mark in "|`*_[]\\"}})
    return " ".join(text.translate(marks).split())
