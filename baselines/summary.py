"""From rows to tables: what an evaluation says, before it is printed or laid out.

Only instances that every solver has answered with every seed are compared, so that all means are
over the same instances; seeds are averaged first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from makespan.baselines.results import Row, figure
from makespan.baselines.statistics import (
    Interval,
    Paired,
    bootstrap_interval,
    compare_paired,
    geometric_mean,
    holm,
    improvement,
    interquartile_mean,
    stratified_interval,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class GroupMean:
    """Mean gap of a group of instances (percent) and its interval."""

    instances: int
    gap: float
    interval: Interval


@dataclass(frozen=True)
class SolverSummary:
    """One solver over the common instances.

    Attributes:
        spec: as given on the command line.
        options: values of the problem's options, as in :class:`~makespan.baselines.results.Row`.
        overall: mean gap.
        by_size: mean gap of each size group.
        middle: interquartile mean of the gaps.
        improvement: probability of a lower gap than the baseline's, percent; NaN without one.
        ratio: geometric mean of objective / reference.
        wins: instances on which no solver is better.
        optimal: instances on which it proved optimality.
        seconds_median, seconds_mean: per instance.
        course: seconds and the mean gap then, from the first moment at which all instances have a
            solution; empty for solvers that do not record when they improve.
        gaps: gap of each instance, percent, in the order of :attr:`Summary.instances`.
        metrics: mean of each further figure over the common instances.
        paired: against the baseline; None for the baseline itself or without one.
        p_adjusted: Holm-adjusted p-value of ``paired``; NaN without.
    """

    spec: str
    options: tuple[str, ...]
    overall: GroupMean
    by_size: dict[str, GroupMean]
    middle: GroupMean
    improvement: GroupMean
    ratio: float
    wins: int
    optimal: int
    seconds_median: float
    seconds_mean: float
    course: tuple[tuple[float, float], ...]
    gaps: tuple[float, ...]
    metrics: tuple[float, ...]
    paired: Paired | None
    p_adjusted: float


@dataclass(frozen=True)
class Summary:
    """All solvers over the common instances.

    Attributes:
        option_names: names of the problem's options.
        metric_names: names of the family's further figures.
        instances: names of the common instances.
        left_out: names of instances that some solver has not answered or that have no gap.
        sizes: size groups in the order of the instances.
        gap_to: what the gaps are to, with counts when there are several.
        baseline: specification of the reference solver of the paired tests, or None.
        solvers: best mean gap first.
    """

    option_names: tuple[str, ...]
    metric_names: tuple[str, ...]
    instances: tuple[str, ...]
    left_out: tuple[str, ...]
    sizes: tuple[str, ...]
    gap_to: str
    baseline: str | None
    solvers: tuple[SolverSummary, ...]


@dataclass(frozen=True)
class Table:
    """A table of text, ready to be printed or laid out.

    Attributes:
        title: above it.
        columns: headings; the first ``text_columns`` are text, the others figures.
        text_columns: number of columns to align left.
        lines: cells.
        note: below it.
    """

    title: str
    columns: tuple[str, ...]
    text_columns: int
    lines: tuple[tuple[str, ...], ...]
    note: str = ""


def summarise(
    rows: Sequence[Row],
    option_names: Sequence[str],
    rules: Sequence[str],
    baseline: str | None = None,
    metric_names: Sequence[str] = (),
    specs: Sequence[str] = (),
) -> Summary | None:
    """Compare solvers; None when no instance was answered by all of them.

    Args:
        rows: with gaps filled in.
        option_names: names of the problem's options.
        rules: specifications of dispatching rules; the best of them is the default baseline.
        baseline: specification to compare with instead.
        metric_names: names of the further figures in the rows.
        specs: of the solvers; none: of those in ``rows``.
    """
    import pandas as pd

    frame = pd.DataFrame(rows)
    gaps = _complete(frame, specs or list(dict.fromkeys(frame["solver"])))
    common = gaps.dropna()
    if common.empty:
        return None
    frame = frame[frame["instance"].isin(common.index)]
    if baseline is None and rules:
        baseline = str(common[list(rules)].mean().idxmin())
    solvers = [_summarise_solver(spec, frame, common, baseline) for spec in common.columns]
    return Summary(
        option_names=tuple(option_names),
        metric_names=tuple(metric_names),
        instances=tuple(common.index),
        left_out=tuple(gaps.index.difference(common.index, sort=False)),
        sizes=tuple(dict.fromkeys(frame["size"])),
        gap_to=_describe_references(frame),
        baseline=baseline,
        solvers=tuple(sorted(_with_adjusted(solvers), key=lambda s: s.overall.gap)),
    )


def _matrix(frame: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """(instances, solvers) means over seeds, both in the order of appearance; NaN where missing."""
    means = frame.groupby(["instance", "solver"], sort=False)[column].mean().unstack()
    order = list(dict.fromkeys(frame["instance"])), list(dict.fromkeys(frame["solver"]))
    return means.reindex(index=order[0], columns=order[1])


def _complete(frame: "pd.DataFrame", specs: Sequence[str]) -> "pd.DataFrame":
    """(instances, solvers) mean gaps; NaN where a seed has no row or no gap."""
    seeds = frame["seed"].nunique()
    counts = frame.groupby(["instance", "solver"], sort=False)["gap_percent"].count().unstack()
    gaps = _matrix(frame, "gap_percent").reindex(columns=list(specs))
    return gaps.where(counts.reindex_like(gaps) == seeds)


def _summarise_solver(
    spec: str, frame: "pd.DataFrame", common: "pd.DataFrame", baseline: str | None
) -> SolverSummary:
    own = frame[frame["solver"] == spec]
    gaps = common[spec]
    sizes = own.groupby("instance")["size"].first().reindex(common.index)
    objectives = _matrix(frame, "objective")
    seconds = own.groupby("instance")["seconds"].mean()
    paired = baseline is not None and baseline != spec
    strata = sizes.tolist()
    chance = 100 * improvement(gaps, common[baseline] if paired else math.nan)
    return SolverSummary(
        spec=spec,
        options=own["options"].iloc[0],
        overall=_group_mean(gaps),
        by_size={size: _group_mean(gaps[sizes == size]) for size in sizes.unique()},
        middle=GroupMean(
            len(gaps),
            interquartile_mean(gaps),
            stratified_interval(gaps, strata, interquartile_mean),
        ),
        improvement=GroupMean(
            len(gaps), float(chance.mean()), stratified_interval(chance, strata, _mean)
        ),
        ratio=geometric_mean(1 + gaps / 100),
        wins=int((objectives[spec] <= objectives.min(axis=1) + 1e-9).sum()),
        optimal=int((own["status"] == "optimal").groupby(own["instance"]).all().sum()),
        seconds_median=float(seconds.median()),
        seconds_mean=float(seconds.mean()),
        course=_course(own),
        gaps=tuple(gaps.tolist()),
        metrics=_mean_metrics(own),
        paired=compare_paired(gaps, common[baseline]) if paired else None,
        p_adjusted=float("nan"),
    )


def _mean(values: "NDArray[np.float64]") -> float:
    return float(values.mean())


def _mean_metrics(own: "pd.DataFrame") -> tuple[float, ...]:
    """Means over seeds, then over instances."""
    import pandas as pd

    figures = pd.DataFrame(own["metrics"].tolist(), index=own["instance"])
    return tuple(figures.groupby(level=0).mean().mean().tolist())


def _course(own: "pd.DataFrame") -> tuple[tuple[float, float], ...]:
    """Mean gap over time, means over seeds first; a step at each improvement."""
    import pandas as pd

    if not own["improvements"].map(len).all():
        return ()
    first = max(improvements[0][0] for improvements in own["improvements"])
    later = {seconds for improvements in own["improvements"] for seconds, _ in improvements}
    times = sorted({first, *(seconds for seconds in later if seconds > first)})
    times.append(max(float(own["seconds"].max()), times[-1]))
    gaps = pd.DataFrame([_gaps_at(times, row) for _, row in own.iterrows()], index=own["instance"])
    means = gaps.groupby(level=0).mean().mean()
    return tuple(zip(times, means.tolist(), strict=True))


def _gaps_at(times: Sequence[float], row: "pd.Series[Any]") -> "NDArray[np.float64]":
    """Gap of the best solution of a row at each of some moments."""
    import numpy as np

    seconds, objectives = np.array(row["improvements"]).T
    best = objectives[np.searchsorted(seconds, times, side="right") - 1]
    reference = row["objective"] / (1 + row["gap_percent"] / 100)
    return 100 * (best / reference - 1)  # type: ignore[no-any-return]


def _group_mean(gaps: "pd.Series[float]") -> GroupMean:
    return GroupMean(len(gaps), float(gaps.mean()), bootstrap_interval(gaps))


def _with_adjusted(solvers: Sequence[SolverSummary]) -> list[SolverSummary]:
    """The solvers with p-values adjusted for the number of comparisons with the baseline."""
    raw = {s.spec: s.paired.p_value for s in solvers if s.paired is not None}
    adjusted = dict(zip(raw, holm(list(raw.values())).tolist(), strict=True))
    return [replace(s, p_adjusted=adjusted.get(s.spec, math.nan)) for s in solvers]


def _describe_references(frame: "pd.DataFrame") -> str:
    """``"best known UB 2026-08-19"``, or several with the number of instances of each."""
    counts = frame.drop_duplicates("instance")["gap_to"].value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{name} ({count})" for name, count in counts.items())


def display_name(spec: str, options: Sequence[str]) -> str:
    """The specification without the prefixes that the option columns show anyway."""
    head, colon, tail = spec.partition(":")
    *choices, name = head.split("/")
    return "/".join([*(choice for choice in choices if choice not in options), name]) + colon + tail


def quality_table(summary: Summary) -> Table:
    """Gap, its interval, ratio, wins and seconds of each solver."""
    lines = [
        (
            *_label(s),
            _decimal(s.overall.gap),
            _interval(s.overall.interval),
            _decimal(s.ratio, 4),
            str(s.wins),
            str(s.optimal),
            _seconds(s.seconds_median),
            _seconds(s.seconds_mean),
            summary.gap_to,
        )
        for s in summary.solvers
    ]
    return Table(
        title=f"Quality and time, {_count(summary.instances, 'instance')}",
        columns=(
            "solver",
            *summary.option_names,
            "mean gap %",
            "95 % interval",
            "ratio",
            "wins",
            "proved",
            "median s",
            "mean s",
            "gap to",
        ),
        text_columns=1 + len(summary.option_names),
        lines=tuple(lines),
        note=(
            "Best first. Ratio: geometric mean of objective / reference. Wins: no solver in this "
            "run is better, ties count. Proved: the solver proved optimality. Seconds: per "
            "instance, wall clock."
        ),
    )


def size_table(summary: Summary) -> Table:
    """Mean gap of each solver in each size group."""
    groups = summary.solvers[0].by_size
    lines = [
        (
            *_label(s),
            *(_decimal(s.by_size[size].gap) for size in summary.sizes),
            _decimal(s.overall.gap),
        )
        for s in summary.solvers
    ]
    counts = ", ".join(f"{size}: {groups[size].instances}" for size in summary.sizes)
    return Table(
        title="Mean gap % by size",
        columns=("solver", *summary.option_names, *summary.sizes, "all"),
        text_columns=1 + len(summary.option_names),
        lines=tuple(lines),
        note=f"Gap to: {summary.gap_to}. Instances: {counts}.",
    )


def robust_table(summary: Summary) -> Table:
    """Interquartile mean of the gap and probability of improvement of each solver."""
    lines = [
        (
            *_label(s),
            _decimal(s.middle.gap),
            _interval(s.middle.interval),
            _decimal(s.improvement.gap, 0),
            _interval(s.improvement.interval, 0),
        )
        for s in summary.solvers
    ]
    return Table(
        title="Typical instances",
        columns=(
            "solver",
            *summary.option_names,
            "interquartile mean gap %",
            "95 % interval",
            "probability of improvement %",
            "95 % interval",
        ),
        text_columns=1 + len(summary.option_names),
        lines=tuple(lines),
        note=(
            "Interquartile mean: of the middle half of the instances. Probability of improvement: "
            f"that the gap on an instance is lower than that of {summary.baseline}, ties half. "
            "Intervals: bootstrap within the size groups."
        ),
    )


def metrics_table(summary: Summary) -> Table | None:
    """Mean of each further figure of each solver; None when the family has none."""
    if not summary.metric_names:
        return None
    lines = [
        (
            *_label(s),
            *(f"{value:.4g}" for value in s.metrics),
        )
        for s in summary.solvers
    ]
    return Table(
        title=f"Further figures, means over {_count(summary.instances, 'instance')}",
        columns=("solver", *summary.option_names, *summary.metric_names),
        text_columns=1 + len(summary.option_names),
        lines=tuple(lines),
    )


def paired_table(summary: Summary) -> Table | None:
    """Each solver against the baseline; None when there is nothing to compare."""
    lines = [
        (
            *_label(s),
            f"{s.paired.mean:+.2f}",
            _interval(s.paired.interval),
            _p_value(s.p_adjusted),
            f"{s.paired.better} / {s.paired.equal} / {s.paired.worse}",
        )
        for s in summary.solvers
        if s.paired is not None
    ]
    if not lines:
        return None
    return Table(
        title=f"Against {summary.baseline}, instance by instance",
        columns=(
            "solver",
            *summary.option_names,
            "difference",
            "95 % interval",
            "p",
            "better / equal / worse",
        ),
        text_columns=1 + len(summary.option_names),
        lines=tuple(lines),
        note=(
            "Difference: mean of the differences in gap, percentage points; below zero the solver "
            "is better than the baseline. p: Wilcoxon signed-rank test, two-sided, adjusted for "
            "the number of comparisons (Holm)."
        ),
    )


def run_table(rows: Sequence[Row], option_names: Sequence[str]) -> Table:
    """One line per row: what each solver achieved on each instance."""
    several_seeds = len({row.seed for row in rows}) > 1
    lines = [
        (
            row.instance,
            display_name(row.solver, row.options),
            *_option_cells(row.options),
            *([str(row.seed)] if several_seeds else []),
            figure(row.objective),
            figure(max(row.lower_bound, row.best_known_lower or -math.inf)),
            _decimal(row.gap_percent),
            row.gap_to,
            _seconds(row.seconds),
            row.status,
        )
        for row in rows
    ]
    seed = ["seed"] if several_seeds else []
    figures = ("objective", "lower bound", "gap %", "gap to", "seconds", "status")
    return Table(
        title="Solutions",
        columns=("instance", "solver", *option_names, *seed, *figures),
        text_columns=2 + len(option_names),
        lines=tuple(lines),
    )


def _label(solver: SolverSummary) -> tuple[str, ...]:
    """The leading cells of a solver's line."""
    return display_name(solver.spec, solver.options), *_option_cells(solver.options)


def _option_cells(options: Sequence[str]) -> list[str]:
    return [option or "-" for option in options]


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" if len(things) == 1 else f"{len(things)} {noun}s"


def _decimal(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _interval(interval: Interval, digits: int = 2) -> str:
    low, high = interval
    return "-" if math.isnan(low) else f"{low:.{digits}f} to {high:.{digits}f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 1 else f"{seconds:.1f}"


def _p_value(p_value: float) -> str:
    if math.isnan(p_value):
        return "-"
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.0e}"
