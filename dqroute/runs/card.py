"""The card of a trained model, in plain words: what it is, what it learned from, how well it does, how to load it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dqroute.core.long_tail import GROUP_NAMES
from dqroute.data.markup import percent
from dqroute.methods.base import METHODS
from dqroute.models.encoders import is_encoder, licence_of
from dqroute.runs.report import Report
from dqroute.runs.run import CARD, REPORT, Run


def write_card(run: Run) -> None:
    """Write ``card.md`` into the folder of a finished run: done at the end of a training, and again when evaluated."""
    run.keep(CARD, card(run))


def card(run: Run) -> str:
    """The card as Markdown, the same for the same run; of settings, provenance and the reports that there are."""
    asked, told, reports = run.settings, run.provenance, reports_of(run)
    problem, data = asked["problem"], asked["data"]
    names, counts = asked["class_names"], problem["counts"]
    summary = METHODS[run.method].summary if run.method in METHODS else ""
    lines = [
        f"# {run.method} on {plain(run.folder.parent.name)}",
        f"A classifier of pictures into {len(names)} classes. {summary}",
        f"It was trained on {sum(counts):,} pictures, {min(counts):,} to {max(counts):,} a class, by dqroute "
        f"{told.get('dqroute')} with seed {run.seed}, in {run.seconds:.0f} s. {network_of(asked)}",
        "## How well it does",
        *measures_of(reports),
        *judged_by(told),
        "## Classes",
        table(("class", "training pictures", "shot group", *(f"right, {report.split}" for report in reports))),
    ]
    group = {c: name for name in GROUP_NAMES for c in run.groups[name]}
    right = [[report.sure(c) for c in range(len(names))] for report in reports]
    rows = [(name, f"{count:,}", group[c]) for c, (name, count) in enumerate(zip(names, counts, strict=True))]
    lines[-1] += "".join("\n" + row(cells) for cells in ((*own, *(r[c] for r in right)) for c, own in enumerate(rows)))
    lines += [
        "## What decides it",
        listed("data", data) + f"\n- fingerprint of the pictures: {told.get('data_fingerprint')}",
        listed("training", asked["training"]),
        listed("options", asked["options"]),
        "## How to load it",
        f'```python\nimport dqroute as dq\n\nrun = dq.Run("{run.folder.name}")  # this folder\n'
        'dq.classify(run, ["a.jpg"])\n```',
        "Settings and weights are JSON and safetensors: loading runs no code of this folder's.",
    ]
    return "\n\n".join(lines) + "\n"


def reports_of(run: Run) -> list[Report]:
    """The evaluations that there are and can be read, by the name of their split."""
    found = []
    before, after = REPORT.split("{split}")
    for path in sorted(run.folder.glob(REPORT.format(split="*"))):
        with suppress(ValueError):
            found += [report for report in [run.report(path.name[len(before) : -len(after)])] if report]
    return found


def network_of(asked: Mapping[str, Any]) -> str:
    """What the network is and whose weights it began with."""
    encoder, training = asked["problem"].get("encoder"), asked["training"]
    backbone = asked["problem"]["backbone"]
    if encoder or is_encoder(backbone):
        kind = "Classifiers on the features of" if encoder else "Trained on from"
        return f"{kind} {backbone}. Its weights: {licence_of(backbone)}."
    start = training.get("pretrained")
    return f"A {backbone}, trained from {f'the weights {start}; see their own licence' if start else 'nothing'}."


def measures_of(reports: Sequence[Report]) -> list[str]:
    """A table of the measures, a row a split."""
    if not reports:
        return ["It has not been evaluated."]
    measures = ("balanced", "overall", *GROUP_NAMES, "worst", "harmonic")
    rows = [
        (report.split, f"{report.images:,}", *map(report.said, measures))
        + (percent(report.calibration.get("overall")),)
        for report in reports
    ]
    head = table(("split", "pictures", *measures, "calibration error"))
    rule = "Accuracy. Balanced: mean of the classes. Worst: mean of the worst fifth of the classes. In brackets: 95 % "
    rule += f"intervals, over groups where pictures belong together. Groups: {reports[0].groups}."
    return ["\n".join([head, *map(row, rows)]), plain(rule)]


def judged_by(told: Mapping[str, Any]) -> list[str]:
    """Whose word calibration, difficulty and fusion were learned from."""
    if "judge" not in told:
        return []
    fair = told["judge"] == "out-of-fold"
    who = "heads that never saw the picture (out of fold)" if fair else "the network that was trained on the pictures"
    known, honest = told.get("training_accuracy"), told.get("out_of_fold_accuracy")
    said = "" if honest is None else f" It is right on {percent(known)} of its training pictures, {percent(honest)} "
    return [f"What judges within it was learned from {who}.{said}{'' if honest is None else 'out of fold.'}"]


def listed(name: str, values: Mapping[str, Any]) -> str:
    """Settings as one item of a list."""
    said = ", ".join(f"{key} {plain(str(value))}" for key, value in values.items())
    return f"- {name}: {said or 'none'}"


def table(head: Sequence[str]) -> str:
    """The head of a Markdown table."""
    return f"{row(head)}\n{row(['---'] * len(head))}"


def row(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(plain, cells))} |"


def plain(text: str) -> str:
    """Text that Markdown takes as it stands, on one line: a class may be called ``<script>`` or ``a|b``."""
    marks = str.maketrans({"<": "&lt;", ">": "&gt;", **{mark: f"\\{mark}" for mark in "|`*_[]\\"}})
    return " ".join(text.translate(marks).split())
