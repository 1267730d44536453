"""Tables over runs: means over seeds with intervals, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

import pandas as pd
from scipy import stats

from dqroute.core.tradeoff import Point, area, overall_at
from dqroute.models.cost import operations, parameter_count
from dqroute.runs.run import Run

FEW = (0.1, 0.15, 0.2, 0.25)  # few-shot accuracies at which methods are compared
COLUMNS = ("overall", "many", "medium", "few")


def accuracies(runs: Iterable[Run], split: str = "test") -> pd.DataFrame:
    """One row a run and column of the report: ``method``, ``seed``, ``group``, ``accuracy`` (in %).

    Raises:
        ValueError: if a run has no report on that split.
    """
    rows = []
    for run in runs:
        report = run.report(split)
        if report is None:
            raise ValueError(f"{run!r} has no report on the {split} split; call dq.evaluate on it first")
        for column in COLUMNS:
            value = getattr(report, column)
            if value is not None:
                rows.append({"method": run.method, "seed": run.seed, "group": column, "accuracy": 100 * value})
    return pd.DataFrame(rows, columns=["method", "seed", "group", "accuracy"])


def check_one_run_a_seed(runs: Iterable[Run]) -> None:
    """Raise ValueError if a method has two runs of one seed: two settings would be averaged as if they were seeds."""
    pairs = [(run.method, run.seed) for run in runs]
    twice = [pair for pair in dict.fromkeys(pairs) if pairs.count(pair) > 1]
    if twice:
        method, seed = twice[0]
        raise ValueError(f"{method} seed {seed} is there more than once; compare one setting of a method at a time")


def half_interval(values: pd.Series) -> float:
    """Half the width of the 95 % interval of the mean (Student's t); NaN for a single value."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / sqrt(n)) if n > 1 else float("nan")


def with_interval(values: pd.Series) -> str:
    """``"34.2 ± 0.6"``, or the value alone where one seed allows no interval."""
    half = half_interval(values)
    return f"{values.mean():.1f}" if pd.isna(half) else f"{values.mean():.1f} ± {half:.1f}"


def summary(runs: Iterable[Run], split: str = "test") -> pd.DataFrame:
    """Accuracy in %, mean over seeds ± half the 95 % interval, and the time of a run; a row a method, as they come."""
    runs = list(runs)
    frame = accuracies(runs, split)
    check_one_run_a_seed(runs)
    methods = list(dict.fromkeys(run.method for run in runs))
    table = frame.groupby(["method", "group"])["accuracy"].apply(with_interval).unstack().reindex(methods)
    table = table.reindex(columns=[column for column in COLUMNS if column in table])
    table["seeds"] = [sum(run.method == method for run in runs) for method in methods]
    minutes = {method: [run.seconds / 60 for run in runs if run.method == method] for method in methods}
    table["minutes a run"] = [f"{sum(times) / len(times):.1f}" for times in minutes.values()]
    table.index.name = table.columns.name = None
    return table


def sizes(runs: Iterable[Run]) -> pd.DataFrame:
    """What each method's network costs: experts, parameters, and operations of one image; a row a method.

    The detectors' parameters count, where they have any; an operation is a multiplication or an addition.

    Raises:
        ValueError: if a run does not say the size of its images.
    """
    rows = {}
    for method, run in {run.method: run for run in runs}.items():
        model = run.new_model()
        if model.size is None:
            raise ValueError(f"{run!r} does not say the size of its images, and work grows with it")
        shape = (model.mean.shape[1], *model.size)
        rows[method] = {
            "experts": model.network.experts,
            "parameters": parameter_count(model),
            "operations an image": operations(model.network, shape),
        }
    return pd.DataFrame(rows).T


def paired_differences(runs: Iterable[Run], reference: str, split: str = "test") -> pd.DataFrame:
    """Each method less the reference, seed by seed: mean difference ± half the 95 % interval, in points.

    Only seeds that both have count. An interval that leaves out zero is a difference that seeds alone do not explain.

    Raises:
        ValueError: if the reference is not among the runs, or a method has two runs of one seed.
    """
    runs = list(runs)
    check_one_run_a_seed(runs)
    wide = accuracies(runs, split).pivot_table(index=["group", "seed"], columns="method", values="accuracy", sort=False)
    if reference not in wide:
        raise ValueError(f"no run of {reference!r} to compare with; there are {', '.join(map(str, wide.columns))}")
    rows = {}
    for method in wide.columns.drop(reference):
        difference = (wide[method] - wide[reference]).dropna()
        rows[f"{method} − {reference}"] = difference.groupby("group", sort=False).apply(with_interval)
    table = pd.DataFrame(rows).T
    return table.reindex(columns=[column for column in COLUMNS if column in table])


def trade_offs(
    curves: Mapping[str, Sequence[Sequence[Point]]], at: Sequence[float] = FEW, span: tuple[float, float] = (0.1, 0.25)
) -> pd.DataFrame:
    """Overall accuracy in % at equal few-shot accuracies, mean over runs ± half the 95 % interval; a row a method.

    Args:
        curves: of each method one curve a run, see :mod:`dqroute.runs.curves`.
        at: the few-shot accuracies, 0 to 1; span: of the mean height in the last column.

    A method whose curve does not reach so far in one of its runs has ``"–"`` there.
    """
    return pd.DataFrame({method: shown(heights(runs, at, span)) for method, runs in curves.items()}).T


def trade_off_differences(
    curves: Mapping[str, Sequence[Sequence[Point]]],
    of: str,
    at: Sequence[float] = FEW,
    span: tuple[float, float] = (0.1, 0.25),
) -> pd.DataFrame:
    """One method less each other at equal few-shot accuracies, run by run: mean ± half the 95 % interval, in points.

    Args:
        curves: of each method one curve a run, in the same order of seeds; of: the method; at, span: see
            :func:`trade_offs`.

    Raises:
        ValueError: if the method is not among the curves, or another has not as many runs.
    """
    if of not in curves:
        raise ValueError(f"no curve of {of!r}; there are {', '.join(curves)}")
    uneven = [method for method, runs in curves.items() if len(runs) != len(curves[of])]
    if uneven:
        raise ValueError(
            f"{of} has {len(curves[of])} runs and {uneven[0]} {len(curves[uneven[0]])}; runs are compared in pairs"
        )
    own = heights(curves[of], at, span)
    others = {method: heights(runs, at, span) for method, runs in curves.items() if method != of}
    return pd.DataFrame({f"{of} − {method}": shown(own - other) for method, other in others.items()}).T


def heights(runs: Sequence[Sequence[Point]], at: Sequence[float], span: tuple[float, float]) -> pd.DataFrame:
    """Overall accuracy of each curve in %, a row a curve; NaN where it does not reach so far."""
    columns = {f"few {100 * few:.0f} %": [overall_at(run, few) for run in runs] for few in at}
    columns[f"mean {100 * span[0]:.0f} to {100 * span[1]:.0f} %"] = [area(run, *span) for run in runs]
    return 100 * pd.DataFrame(columns, dtype=float)


def shown(values: pd.DataFrame) -> pd.Series:
    """Each column's mean with its interval, or ``"–"`` where a value is missing."""
    return pd.Series({name: "–" if column.hasnans else with_interval(column) for name, column in values.items()})


def detectors(runs: Iterable[Run], split: str = "test") -> pd.DataFrame:
    """Each detector's AUROC and FPR95, mean over runs: a row an expert that has outsiders, with the size of its set."""
    reports = [run.report(split) for run in runs]
    rows = [row for report in reports if report is not None for row in report.detectors]
    frame = pd.DataFrame(rows, columns=["expert", "classes", "auroc", "fpr95"])
    return frame.groupby(["expert", "classes"]).mean()
