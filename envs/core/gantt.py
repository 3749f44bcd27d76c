"""What pictures of all families share: style, colours, bounds, titles, the gap in words, files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.family import BestKnown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PALE, BOUND_COLOUR = "#1b1f24", "#f1f2f4", "#00687a"
LABEL_SIZES = (8.5, 7.0, 6.0, 5.0)  # points, the largest that fits is taken
DPI = 110


@contextmanager
def own_style() -> Iterator[None]:
    """Whatever the user's style is: the same picture in the same bytes."""
    from matplotlib import rc_context, style

    with style.context("default"), rc_context({"svg.hashsalt": "makespan"}):
        yield


def chart_width(rows: NDArray[np.int64], bar: float) -> float:
    """Inches for a chart with ``bar`` inches for each bar in the busiest row."""
    return float(np.clip(7 + bar * np.bincount(rows, minlength=1).max(), 9, 27))


def draw_bounds(axes: "Axes", makespan: float, lower_bound: float | None) -> None:
    """Vertical lines at the lower bound and at the makespan, named above the chart."""
    end = axes.get_xlim()[1]
    if lower_bound:
        axes.axvline(lower_bound, color=BOUND_COLOUR, linestyle=(0, (2, 1.5)), lw=1.4, zorder=4)
    if makespan:
        axes.axvline(makespan, color=INK, lw=1.4, zorder=4)
    names = [(makespan, f"makespan {makespan:g}", INK)]
    if lower_bound and lower_bound == makespan:
        names = [(makespan, f"makespan {makespan:g} = lower bound", INK)]
    elif lower_bound:
        names.append((lower_bound, f"lower bound {lower_bound:g}", BOUND_COLOUR))
    for level, (at, text, colour) in enumerate(names):
        if at:
            axes.annotate(
                text,
                (at, 1),
                xycoords=axes.get_xaxis_transform(),
                xytext=(0, 3 + 11 * level),
                textcoords="offset points",
                ha="right" if at > 0.5 * end else "left",
                fontsize=8.5,
                color=colour,
            )


def write_titles(figure: "Figure", title: str, subtitle: str, policy: str = "") -> None:
    """Two lines at the top left, the policy behind the title."""
    title = ", ".join(part for part in (title, policy) if part)
    width, height = figure.get_size_inches()
    x = 0.12 / width
    figure.text(x, 1 - 0.1 / height, title, fontsize=12, weight="bold", va="top", color=INK)
    figure.text(x, 1 - 0.36 / height, subtitle, fontsize=9.5, va="top", color=INK)


def gap_sentence(makespan: int, lower_bound: float | None, best_known: BestKnown | None) -> str:
    """How far the makespan is from the best known one, or from the lower bound."""
    reference, name = lower_bound, "the lower bound"
    if best_known is not None:
        kind = "the optimum" if best_known.closed else "the best known makespan"
        reference, name = best_known.upper_bound, f"{kind} (bounds of {best_known.as_of})"
    if not reference:
        return f"makespan {makespan}"
    gap = 100 * (makespan / reference - 1)
    return f"makespan {makespan}, gap {gap:.2f} % to {reference:g}, {name}"


def known_bound(lower_bound: float | None, best_known: BestKnown | None) -> float | None:
    """The larger of the lower bounds there are."""
    if best_known is None:
        return lower_bound
    return max(best_known.lower_bound, lower_bound or 0)


def save(figure: "Figure", path: Path) -> None:
    """Write the file, without the date that would make two equal pictures differ."""
    dated = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    figure.savefig(path, dpi=DPI, metadata=dated.get(path.suffix))


def pixels_of(figure: "Figure") -> NDArray[np.uint8]:
    """(height, width, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
