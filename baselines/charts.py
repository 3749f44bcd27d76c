"""Charts of a summary as inline SVG that takes its text colour and font from the page.

Nothing but the series has a colour of its own, so one picture serves light and dark pages.
"""

import io
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from makespan.baselines.statistics import performance_profile
from makespan.baselines.summary import GroupMean, SolverSummary, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Drawn in this colour, text and axes become ``currentColor`` in the SVG.
PAGE_COLOUR = "#010203"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "makespan",
    "font.size": 9,
    "text.color": PAGE_COLOUR,
    "axes.labelcolor": PAGE_COLOUR,
    "axes.edgecolor": PAGE_COLOUR,
    "xtick.color": PAGE_COLOUR,
    "ytick.color": PAGE_COLOUR,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#80868b",
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
WIDTH = 9.6  # inches
#: Solvers in a performance profile; more cannot be told apart.
PROFILES = 10


def gap_by_size_chart(summary: Summary) -> str:
    """Bars with intervals: mean gap of each solver in each size group, and over all."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        figure, axes = _new_figure(3.9)
        solvers = summary.solvers
        sizes = summary.sizes if len(summary.sizes) > 1 else ()
        width = 0.84 / len(solvers)
        for index, solver in enumerate(solvers):
            means = [*(solver.by_size[size] for size in sizes), solver.overall]
            x = np.arange(len(means)) + (index - (len(solvers) - 1) / 2) * width
            axes.bar(
                x,
                [mean.gap for mean in means],
                width * 0.92,
                color=_colour(summary, solver.spec),
                label=solver.spec,
            )
            _whiskers(axes, x.tolist(), means)
        axes.set_xticks(range(len(sizes) + 1), [*sizes, "all"])
        axes.tick_params(axis="x", length=0)
        axes.axhline(0, color=PAGE_COLOUR, lw=0.8)
        axes.set_ylabel(f"mean gap % to {summary.gap_to}")
        axes.grid(axis="y")
        axes.margins(x=0.01)
        longest = max(len(solver.spec) for solver in solvers)
        figure.legend(loc="outside upper left", ncols=max(1, round(115 / (longest + 9))))
        return _svg(figure, "Mean gap of each solver by instance size, with 95 % intervals")


def gap_against_time_chart(summary: Summary) -> str:
    """Mean gap over seconds (logarithmic): a curve where a solver tells, and a point at its end.

    Else the point is at the median seconds. The curve begins when all instances have a solution.
    """
    from matplotlib import style

    with style.context(["default", STYLE]):
        figure, axes = _new_figure(3.9)
        for solver in summary.solvers:
            colour = _colour(summary, solver.spec)
            if solver.course:
                axes.step(*zip(*solver.course, strict=True), where="post", color=colour, lw=1.6)
            axes.plot([_end(solver)] * 2, solver.overall.interval, color=colour, lw=2)
            axes.plot(_end(solver), solver.overall.gap, "o", ms=7, color=colour)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("seconds per instance (logarithmic)")
        axes.set_ylabel(f"mean gap % to {summary.gap_to}")
        axes.grid()
        axes.margins(x=0.06, y=0.08)
        first, last = axes.get_xlim()
        axes.set_xlim(first, last * (last / first) ** 0.22)  # room for the names
        _label_points(axes, summary)
        return _svg(figure, "Mean gap of each solver against its time per instance")


def _end(solver: SolverSummary) -> float:
    """Seconds of a solver's point in the chart of gap against time."""
    return solver.course[-1][0] if solver.course else solver.seconds_median


def profile_chart(summary: Summary) -> str:
    """A staircase for each of the best solvers: the share of instances with at most a gap."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        figure, axes = _new_figure(3.6)
        profiles = {s.spec: performance_profile(s.gaps) for s in summary.solvers[:PROFILES]}
        start = min(gaps[0] for gaps, _ in profiles.values())
        # what only the weaker solvers reach would squeeze the rest
        end = sorted(gaps[-1] for gaps, _ in profiles.values())[len(profiles) // 2]
        for spec, (gaps, shares) in profiles.items():
            axes.step(
                [start, *gaps, max(end, gaps[-1])],
                [0, *shares, 1],
                where="post",
                color=_colour(summary, spec),
                label=spec,
                lw=1.6,
            )
        axes.set_xlim(start, max(end, start + 1))
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(f"gap % to {summary.gap_to}")
        axes.set_ylabel("share of instances with at most this gap")
        axes.grid()
        figure.legend(loc="outside right upper")
        return _svg(figure, "Performance profile: share of instances with at most a gap")


def paired_chart(summary: Summary) -> str | None:
    """A dot per instance: difference in gap to the baseline, with mean and interval."""
    from matplotlib import style

    compared = [solver for solver in summary.solvers if solver.paired is not None]
    if not compared:
        return None
    baseline = next(s for s in summary.solvers if s.spec == summary.baseline)
    with style.context(["default", STYLE]):
        figure, axes = _new_figure(0.9 + 0.42 * len(compared))
        for row, solver in enumerate(compared):
            difference = np.subtract(solver.gaps, baseline.gaps)
            spread = 0.3 * np.sin(np.arange(len(difference)) * 2.4)  # the same in every report
            colour = _colour(summary, solver.spec)
            axes.scatter(difference, row + spread, s=9, color=colour, alpha=0.55, lw=0)
            if solver.paired is not None:
                axes.plot(solver.paired.interval, [row, row], color=PAGE_COLOUR, lw=2)
                axes.plot(solver.paired.mean, row, "D", ms=5, color=PAGE_COLOUR)
        axes.set_yticks(range(len(compared)), [solver.spec for solver in compared])
        axes.set_ylim(len(compared) - 0.5, -0.5)
        axes.axvline(0, color=PAGE_COLOUR, lw=0.8)
        axes.set_xlabel(
            f"gap minus gap of {summary.baseline}, percentage points (left of zero: better)"
        )
        axes.grid(axis="x")
        return _svg(figure, f"Differences in gap to {summary.baseline}, instance by instance")


def _new_figure(height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _colour(summary: Summary, spec: str) -> tuple[float, float, float, float]:
    """Ten colours that stay apart with colour-vision deficiencies, then the same half as strong.

    Assigned by name, so that a solver keeps its colour when the ranking changes.
    """
    from matplotlib import color_sequences
    from matplotlib.colors import to_rgba

    index = sorted(solver.spec for solver in summary.solvers).index(spec)
    colours = color_sequences["petroff10"]
    return to_rgba(colours[index % 10], alpha=1.0 if index < 10 else 0.5)


def _whiskers(axes: "Axes", x: Sequence[float], means: Sequence[GroupMean]) -> None:
    for at, mean in zip(x, means, strict=True):
        axes.plot([at, at], mean.interval, color=PAGE_COLOUR, lw=0.9)


def _label_points(axes: "Axes", summary: Summary) -> None:
    """Names beside the points, pushed apart downwards where they would overlap."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    line_height = 11 * figure.dpi / 72
    points = [(axes.transData.transform((_end(s), s.overall.gap)), s) for s in summary.solvers]
    placed: list[tuple[float, float]] = []
    for (x, y), solver in sorted(points, key=lambda point: -point[0][1]):
        near = [py for px, py in placed if abs(px - x) < 140 and py - y < line_height]
        label_y = min([y, *(py - line_height for py in near)])
        placed.append((x, label_y))
        axes.annotate(
            solver.spec,
            (_end(solver), solver.overall.gap),
            xytext=(7, (label_y - y) * 72 / figure.dpi),
            textcoords="offset points",
            va="center",
        )


def _svg(figure: "Figure", description: str) -> str:
    """The figure as an SVG element for a page, scaling with it, without XML header and date."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    return svg.replace(PAGE_COLOUR, "currentColor")
