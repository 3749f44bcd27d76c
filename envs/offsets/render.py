"""Memory maps of offset allocations: time to the right, offsets upwards, a rectangle per buffer.

Colours follow Petroff, Accessible color sequences for data visualization, arXiv 2107.02270 (2021);
they repeat after ten buffers, so rectangles have darker edges. Buffers with fixed offsets are
hatched.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.family import BestKnown
from makespan.envs.core.gantt import (
    BOUND_COLOUR,
    DPI,
    INK,
    own_style,
    pixels_of,
    save,
    write_titles,
)
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOAD_COLOUR = "#8a9099"
#: Labels are written into rectangles at least this large, in inches.
LABEL_ROOM = 0.32, 0.13

Vector = NDArray[np.int64]


def draw(
    instance: OffsetInstance,
    solution: OffsetSolution,
    path: Path,
    *,
    policy: str = "",
    lower_bound: float | None = None,
    best_known: BestKnown | None = None,
) -> None:
    """Draw a memory map into a picture file; the suffix of ``path`` chooses the format.

    The same arguments give the same bytes.

    Args:
        instance: what was solved.
        solution: the offsets.
        path: of the picture, ending in ``.png``, ``.svg`` or ``.pdf``.
        policy: what made the solution, for the title.
        lower_bound: on the objective, for the title; the largest load is drawn in any case.
        best_known: named in the title instead of ``lower_bound``.
    """
    peak = solution.peak(instance)
    reference = lower_bound if best_known is None else best_known.upper_bound
    gap = ""
    if reference:
        above = 100 * (solution.objective(instance) / reference - 1)
        gap = f", {above:.2f} % above {reference:,.0f}"
    title = f"{instance.name} ({instance.num_buffers} buffers)"
    subtitle = f"peak {peak:,} bytes{gap}; largest load {instance.max_load:,}"
    if instance.capacity:
        fits = "fits" if solution.fits(instance) else "does not fit"
        subtitle += f"; {fits} into {instance.capacity:,}"
    times = np.append(instance.section_starts, instance.upper.max())
    with own_style():
        figure, axes = _figure(11, 6.5)
        height = max(peak, instance.capacity, instance.max_load)
        _set_limits(axes, int(times[0]), int(times[-1]), height, "time")
        _draw_rectangles(
            axes,
            instance.lower,
            instance.upper,
            solution.offsets,
            instance.nbytes,
            instance.ids,
            instance.offset >= 0,
        )
        axes.stairs(instance.loads, times, color=LOAD_COLOUR, linewidth=1.4, label="load")
        _draw_levels(axes, peak, instance.max_load, instance.capacity)
        write_titles(figure, title, subtitle, policy)
        save(figure, path)


def rgb_array(
    first: NDArray[np.int32],
    last: NDArray[np.int32],
    size: Vector,
    offset: Vector,
    sections: int,
    lower_bound: int,
) -> NDArray[np.uint8]:
    """A complete or partial solution as pixels, for ``render_mode="rgb_array"``.

    Args:
        first, last: (buffers,) first and one past the last section of each life.
        size: (buffers,) bytes.
        offset: (buffers,) -1 where the buffer is not placed yet.
        sections: of the instance.
        lower_bound: on the objective, drawn as a line.

    Returns:
        (height, width, 3) uint8, always of the same size.
    """
    placed = np.flatnonzero(offset >= 0)
    peak = int((offset + size)[placed].max(initial=0))
    with own_style():
        figure, axes = _figure(9, 5)
        _set_limits(axes, 0, sections, max(peak, lower_bound), "section")
        _draw_rectangles(
            axes,
            first[placed],
            last[placed],
            offset[placed],
            size[placed],
            tuple(map(str, placed.tolist())),
            np.zeros(len(placed), dtype=np.bool_),
            colours=placed,
        )
        _draw_levels(axes, peak, lower_bound, 0)
        write_titles(figure, "", f"{len(placed)} of {len(size)} buffers placed")
        return pixels_of(figure)


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """An empty chart; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    left, right, bottom, top = 0.95, 0.2, 0.5, 0.7
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8.5, labelcolor=INK, color=INK)
    return figure, axes


def _set_limits(axes: "Axes", begin: int, end: int, height: int, time: str) -> None:
    from matplotlib.ticker import StrMethodFormatter

    axes.set_xlim(begin, max(end, begin + 1))
    axes.set_ylim(0, 1.05 * height)
    axes.set_xlabel(time, fontsize=8.5, color=INK)
    axes.set_ylabel("offset, bytes", fontsize=8.5, color=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _draw_rectangles(
    axes: "Axes",
    begin: NDArray[np.signedinteger],
    end: NDArray[np.signedinteger],
    bottom: Vector,
    height: Vector,
    labels: tuple[str, ...],
    fixed: NDArray[np.bool_],
    colours: NDArray[np.signedinteger] | None = None,
) -> None:
    """All rectangles as two collections, and the labels of those with room for one."""
    from matplotlib import color_sequences
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba_array

    base = to_rgba_array(color_sequences["petroff10"])[:, :3]
    number = np.arange(len(begin)) if colours is None else colours
    colour = 0.35 + 0.65 * base[number % len(base)]
    top = bottom + height
    x = np.stack([begin, end, end, begin], axis=-1)
    y = np.stack([bottom, bottom, top, top], axis=-1)
    corners = np.stack([x, y], axis=-1).astype(np.float64)  # (n, 4, 2)
    for which, hatch in ((~fixed, None), (fixed, "///")):
        axes.add_collection(
            PolyCollection(
                list(corners[which]),
                facecolors=colour[which],
                edgecolors=0.6 * base[number[which] % len(base)],
                linewidths=0.5,
                hatch=hatch,
            )
        )
    box = axes.get_window_extent()
    room_x = (end - begin) / np.ptp(axes.get_xlim()) * box.width / DPI
    room_y = height / np.ptp(axes.get_ylim()) * box.height / DPI
    for i in np.flatnonzero((room_x >= LABEL_ROOM[0]) & (room_y >= LABEL_ROOM[1])).tolist():
        if len(labels[i]) * 0.08 <= room_x[i]:
            axes.text(
                (begin[i] + end[i]) / 2,
                (bottom[i] + top[i]) / 2,
                labels[i],
                fontsize=7,
                ha="center",
                va="center",
                color=INK,
            )


def _draw_levels(axes: "Axes", peak: int, load: int, capacity: int) -> None:
    """Lines at the peak, at the largest load and at the capacity."""
    levels = [(peak, "peak", INK, "-"), (load, "bound", BOUND_COLOUR, (0, (2, 1.5)))]
    levels += [(capacity, "capacity", "#b3401f", (0, (6, 2)))] if capacity else []
    for level, name, colour, style in levels:
        if level:
            axes.axhline(level, color=colour, linewidth=1.4, linestyle=style, label=name)
    axes.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False)
