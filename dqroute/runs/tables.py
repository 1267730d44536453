"""Tables over runs: means over seeds with intervals, and differences paired by seed.

A row's runs are those of a method; where rows are to be something else, give a mapping from a row's name to its runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan, sqrt
from pathlib import Path
from typing import Any

import pandas as pd

from dqroute.core.checks import choose, one_line
from dqroute.measures.curves import Point, area, overall_at
from dqroute.methods.base import METHODS, method_options
from dqroute.runs.evaluate import trade_off_of
from dqroute.runs.published import read_published
from dqroute.runs.report import UNBALANCED, Report
from dqroute.runs.run import Run, digest_of, find_runs

Runs = Iterable[Run] | Mapping[str, Iterable[Run]]
Curves = Mapping[str, Sequence[Sequence[Point]]]

FEW = (0.1, 0.15, 0.2, 0.25)  # few-shot accuracies at which methods are compared
COLUMNS = ("overall", "many", "medium", "few")
MEASURES = {name: name for name in COLUMNS} | {"worst": "worst fifth", "harmonic": "harmonic mean"}


def by_row(runs: Runs) -> dict[str, list[Run]]:
    """The runs of each row that has any, by its name, in the order in which they come."""
    if isinstance(runs, Mapping):
        return {name: found for name, some in runs.items() if (found := list(some))}
    rows: dict[str, list[Run]] = {}
    for run in runs:
        rows.setdefault(run.method, []).append(run)
    return rows


def sound(runs: Iterable[Run], split: str) -> list[Run]:
    """The runs whose files can be read, as far as tables do; a warning names each other one, and what is wrong."""
    found = []
    for run in runs:
        try:
            run.report(split), run.seconds  # noqa: B018
            found.append(run)
        except (OSError, ValueError) as error:
            warnings.warn(f"passed over: {one_line(error)}", stacklevel=4)
    return found


def by_options(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each method and choice of its options, by its name and the options that are not the defaults.

    And by the training settings that are not those of most of the method's runs.
    """
    rows, runs = dict[str, list[Run]](), list(runs)
    trained = {name: [run.settings["training"] for run in some] for name, some in by_row(runs).items()}
    most = {name: pd.DataFrame(some, dtype=object).mode().iloc[0] for name, some in trained.items()}
    for run in runs:
        folds = run.settings["problem"].get("folds") if "features" in run.settings["data"] else None
        usual = METHODS[run.method].settled(method_options(run.method), folds)
        told = [f"{name}={v}" for name, v in run.settings["options"].items() if usual.get(name, v) != v]
        told += [f"{name}={v}" for name, v in run.settings["training"].items() if v != most[run.method].get(name, v)]
        rows.setdefault(", ".join([run.method, *told]), []).append(run)
    return rows


def measured(runs: Iterable[Run], of: str = "routed", split: str = "test") -> pd.DataFrame:
    """All measures of accuracy of some runs in %, a seed a line; see :class:`~dqroute.runs.report.Report`.

    ``of`` is ``"routed"``, the runs' own predictions; ``"plain mean"`` of their experts; or ``"calibrated"``, that mean
    with the shifts of the method's calibration. ValueError as of :func:`by_seed`.
    """
    choose("prediction", of, ("routed", "plain mean", "calibrated"))

    def told(report: Report) -> dict[str, Any]:
        kinds = {"routed": vars(report), "plain mean": report.plain_mean, "calibrated": report.calibrated or {}}
        if not kinds[of]:
            raise ValueError(
                f"a run has no {of} measures on the {split} split; call dq.evaluate on it, or leave it out"
            )
        return {said: kinds[of].get(name) for name, said in MEASURES.items()}

    return a_seed_a_line("this row", runs, split, told)


def a_seed_a_line(
    name: str, runs: Iterable[Run], split: str, told: Callable[[Report], Mapping[str, float | None]]
) -> pd.DataFrame:
    """What is told of the reports of a row's runs, shares, in %."""
    seeds: dict[int, Mapping[str, float | None]] = {}
    for run in sound(runs, split):
        if (report := run.report(split)) is None:
            raise ValueError(f"{run!r} has no report on the {split} split; call dq.evaluate on it first")
        if run.seed in seeds:
            remedy = "compare one setting of a method at a time, or name the rows: {name: runs}"
            raise ValueError(f"{name} seed {run.seed} is there more than once; {remedy}")
        seeds[run.seed] = told(report)
    return 100 * pd.DataFrame.from_dict(seeds, "index", dtype=float).sort_index()


def half_interval(values: pd.Series) -> float:
    """Half the width of the 95 % interval of the mean (Student's t); NaN for fewer than three values."""
    # Here, because scipy takes its time to import.
    from scipy import stats

    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / sqrt(n)) if n > 2 else nan


def with_interval(values: pd.Series) -> str:
    """``"34.2 ± 0.6"``; ``"34.2 (2 seeds)"``; one value alone; ``"–"`` where one is missing."""
    if values.hasnans:
        return "–"
    said = f"{values.mean():z.1f}"  # no minus before a zero
    return f"{said} ± {half_interval(values):.1f}" if len(values) > 2 else said + " (2 seeds)" * (len(values) == 2)


def means(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The means of each row's values, a column a quantity, with their intervals."""
    return pd.DataFrame({name: {c: with_interval(values[c]) for c in values} for name, values in rows.items()}).T


def by_seed(runs: Runs, split: str) -> dict[str, pd.DataFrame]:
    """The accuracies of each row in %, a seed a line, a group a column; no column of a group that no run has.

    Where the split's classes are of unequal size, as those of pictures of one's own are, also the mean of the classes.
    ValueError if a run has no report on that split, or a row two runs of one seed: of two settings, that is.
    """

    def told(report: Report) -> dict[str, float | None]:
        unlike = {"mean of the classes": report.balanced} if (report.imbalance or 1) > UNBALANCED else {}
        return unlike | {group: getattr(report, group) for group in COLUMNS}

    found = {name: a_seed_a_line(name, some, split, told) for name, some in by_row(runs).items()}
    return {name: frame.dropna(axis=1, how="all") for name, frame in found.items() if len(frame)}


def summary(runs: Runs, split: str = "test") -> pd.DataFrame:
    """Accuracy in %, mean over seeds ± half the 95 % interval, and the time of a run; a row a method, as they come."""
    rows = by_row({name: sound(some, split) for name, some in by_row(runs).items()})
    table = means(by_seed(rows, split))
    table["seeds"] = [len(some) for some in rows.values()]
    table["minutes a run"] = [f"{sum(r.seconds for r in some) / 60 / len(some):.1f}" for some in rows.values()]
    return table


def partly_memory(runs: Runs, split: str = "test") -> str:
    """What flatters the accuracies of a :func:`summary`, in a line, of the run that most does; ``""`` where nothing."""
    found = (run.report(split) for some in by_row(runs).values() for run in sound(some, split))
    flattered = max(filter(None, found), key=lambda report: (report.near or 0, report.learned or 0), default=None)
    return "" if flattered is None else "; ".join(flattered.memory())


def paired_differences(runs: Runs, reference: str, split: str = "test") -> pd.DataFrame:
    """Each method less the reference, over the seeds that both have: mean difference ± half the 95 % interval, points.

    An interval that leaves out zero is a difference that seeds alone do not explain.
    """
    values = by_seed(runs, split)
    if reference not in values:
        raise ValueError(f"no run of {reference!r} to compare with; there are {', '.join(values)}")
    own = values.pop(reference)
    less = {f"{name} − {reference}": (other - own).dropna(how="all") for name, other in values.items()}
    return means({name: difference[own.columns] for name, difference in less.items() if len(difference)})


def detectors(runs: Iterable[Run], split: str = "test") -> pd.DataFrame:
    """Each detector's AUROC and FPR95, mean over runs: a row an expert that has outsiders, with the size of its set."""
    rows = [row for run in sound(runs, split) if (report := run.report(split)) for row in report.detectors]
    frame = pd.DataFrame(rows, columns=["expert", "classes", "auroc", "fpr95"])
    return frame.groupby(["expert", "classes"]).mean()


def curves_by_method(runs: Runs, split: str = "test", plain_mean_of: str = "dqroute") -> dict[str, list[list[Point]]]:
    """The routed curves of each row, one a run; of one row the plain mean of its experts beside it."""
    found = {}
    for name, some in by_row(runs).items():
        curves = [trade_off_of(run, split=split) for run in some]
        found[name] = [curve["routed"] for curve in curves]
        if name == plain_mean_of:
            found[f"{name}, plain mean"] = [curve["plain mean"] for curve in curves]
    return found


def heights(curves: Curves, at: Sequence[float], span: tuple[float, float]) -> dict[str, pd.DataFrame]:
    """Overall accuracy of each row's curves in %, a row a curve; NaN where it does not reach so far."""
    low, high = (f"{100 * few:.0f}" for few in span)
    found = {}
    for name, runs in curves.items():
        columns = {f"few {100 * few:.0f} %": [100 * overall_at(points, few) for points in runs] for few in at}
        columns[f"mean {low} to {high} %"] = [100 * area(points, *span) for points in runs]
        found[name] = pd.DataFrame(columns, dtype=float)
    return found


def trade_offs(curves: Curves, at: Sequence[float] = FEW, span: tuple[float, float] = (0.1, 0.25)) -> pd.DataFrame:
    """Overall accuracy in %, mean over runs ± half the 95 % interval, of :func:`curves_by_method`; a row a method.

    ``at`` few-shot accuracies 0 to 1 (``"–"`` where a curve does not reach), and in the last column over ``span``.
    """
    return means(heights(curves, at, span))


def trade_off_differences(
    curves: Curves, of: str, at: Sequence[float] = FEW, span: tuple[float, float] = (0.1, 0.25)
) -> pd.DataFrame:
    """The method ``of`` less each other, run by run: mean ± half the 95 % interval, in points; see :func:`trade_offs`.

    Runs stand in the same order of seeds; ValueError if there are not as many of each.
    """
    values = heights(curves, at, span)
    if of not in values:
        raise ValueError(f"no curve of {of!r}; there are {', '.join(values)}")
    own = values.pop(of)
    for name, other in values.items():
        if len(other) != len(own):
            raise ValueError(f"{of} has {len(own)} runs and {name} {len(other)}; runs are compared in pairs")
    return means({f"{of} − {name}": own - other for name, other in values.items()})


def table(runs: str | Path | Iterable[Run] | None = None, split: str = "test") -> pd.DataFrame:
    """What runs tell, one row a run: those below a folder (None: the default one), of a published file, or given.

    Columns: ``method``, ``data``, ``seed``; the options, training settings and properties of the data set (its seed as
    ``data seed``) that are not the same in all runs that have them; ``overall``, ``many``, ``medium`` and ``few``, the
    accuracies on the split in %, if the run was evaluated; ``minutes`` of training, and where, when and of which code.
    """
    if runs is None or isinstance(runs, (str, Path)):
        runs = read_published(runs) if runs and Path(runs).is_file() else find_runs(runs)
    found, asked = sound(runs, split), list[dict[str, Any]]()
    for run in found:
        data = {f"data {name}" if name in ("seed", "name") else name: v for name, v in run.settings["data"].items()}
        asked.append(run.settings["options"] | run.settings["training"] | data)
    names = dict.fromkeys(name for settings in asked for name in settings if name != "data name")
    differing = [name for name in names if len({digest_of(s[name]) for s in asked if name in s}) > 1]
    rows = []
    for run, settings in zip(found, asked, strict=True):
        made, report = run.provenance, run.report(split)
        row = {"method": run.method, "data": run.settings["data"].get("name"), "seed": run.seed}
        row |= {name: settings.get(name) for name in differing}
        row |= {group: None if (x := getattr(report, group, None)) is None else 100 * x for group in COLUMNS}
        row |= {"minutes": run.seconds / 60, "device": (made.get("machine") or {}).get("device")}
        row |= {name: made.get(name) for name in ("commit", "clean", "finished")}
        rows.append(row | {"folder": str(run.folder)})
    return pd.DataFrame(rows)
