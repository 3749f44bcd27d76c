"""Gantt charts of job-shop schedules: one row per machine, one colour per job.

Colours follow Petroff, Accessible color sequences for data visualization, arXiv 2107.02270 (2021):
ten colours that remain apart with colour-vision deficiencies. From the eleventh job on they return
lighter, then darker; beyond thirty jobs the numbers on the bars tell jobs apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.family import BestKnown
from makespan.envs.core.gantt import (
    DPI,
    INK,
    LABEL_SIZES,
    PALE,
    chart_width,
    draw_bounds,
    gap_sentence,
    known_bound,
    own_style,
    pixels_of,
    save,
    write_titles,
)
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAR_HEIGHT = 0.84  # of a machine's row


@dataclass(frozen=True)
class Bars:
    """What a chart shows: the scheduled operations, as columns of equal length n.

    Attributes:
        jobs, machines: (n,) int64, job and machine of each operation.
        starts, ends: (n,) int64, in the instance's time unit.
        num_jobs, num_machines: of the whole instance, so that colours and rows do not depend on
            how much is scheduled.
    """

    jobs: NDArray[np.int64]
    machines: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    num_jobs: int
    num_machines: int

    @property
    def makespan(self) -> int:
        """End of the last operation; 0 when nothing is scheduled."""
        return int(self.ends.max(initial=0))


def draw(
    instance: JobShopInstance,
    solution: JobShopSolution,
    path: Path,
    *,
    policy: str = "",
    lower_bound: float | None = None,
    best_known: BestKnown | None = None,
) -> None:
    """Draw a schedule into a picture file; the suffix of ``path`` chooses the format.

    The same arguments give the same bytes.

    Args:
        instance: what was solved.
        solution: the schedule.
        path: of the picture, ending in ``.png``, ``.svg`` or ``.pdf``.
        policy: what made the schedule, for the title.
        lower_bound: on the makespan; drawn as a line.
        best_known: the title states the gap to its upper bound, else the gap to ``lower_bound``.
    """
    columns = (solution.jobs, solution.machines, solution.starts, solution.ends)
    bars = Bars(*columns, instance.num_jobs, instance.num_machines)
    lower_bound = known_bound(lower_bound, best_known)
    width = chart_width(bars.machines, 0.2)
    title = f"{instance.name} ({instance.num_jobs} jobs, {instance.num_machines} machines)"
    with own_style():
        figure = chart(bars, width, lower_bound, horizon=None)
        sentence = gap_sentence(bars.makespan, lower_bound, best_known)
        write_titles(figure, title, sentence, policy)
        save(figure, path)


def rgb_array(
    scheduled: Mapping[str, NDArray[np.int64]],
    *,
    num_jobs: int,
    num_machines: int,
    lower_bound: float | None = None,
    horizon: float | None = None,
    title: str = "",
) -> NDArray[np.uint8]:
    """A complete or partial schedule as pixels, for ``render_mode="rgb_array"``.

    Args:
        scheduled: (n,) columns ``jobs``, ``machines``, ``starts``, ``ends`` of the operations
            scheduled so far; n may be 0.
        num_jobs, num_machines: of the instance.
        lower_bound: on the makespan; drawn as a line.
        horizon: end of the time axis; give the same one to all frames of a film.
        title: above the chart.

    Returns:
        (height, width, 3) uint8; the size depends on the number of machines alone.
    """
    columns = {name: scheduled[name] for name in ("jobs", "machines", "starts", "ends")}
    bars = Bars(num_jobs=num_jobs, num_machines=num_machines, **columns)
    with own_style():
        figure = chart(bars, 10, lower_bound, horizon)
        write_titles(figure, title, f"{len(bars.jobs)} operations scheduled")
        return pixels_of(figure)


def job_colours(num_jobs: int) -> NDArray[np.float64]:
    """(num_jobs, 3) red, green and blue in 0..1; they repeat after 30 jobs."""
    from matplotlib import color_sequences
    from matplotlib.colors import to_rgba_array

    base = to_rgba_array(color_sequences["petroff10"])[:, :3]
    shades = np.concatenate([base, 0.5 + 0.5 * base, 0.58 * base])
    return shades[np.arange(num_jobs) % len(shades)]


def chart(bars: Bars, width: float, lower_bound: float | None, horizon: float | None) -> "Figure":
    """The chart without its title; ``width`` in inches."""
    from matplotlib.figure import Figure

    height = 1.45 + 0.3 * bars.num_machines
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    left, right, bottom, top = 0.6, 0.2, 0.5, 0.85  # inches
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    )
    end = horizon or max(bars.makespan, lower_bound or 0, 1)
    axes.set_xlim(0, end * 1.01)
    axes.set_ylim(bars.num_machines - 0.5, -0.5)
    _style_axes(axes, bars.num_machines)
    pixels_per_unit = (width - left - right) * DPI / (end * 1.01)
    pixels = (bars.ends - bars.starts).astype(np.float64) * pixels_per_unit
    _draw_bars(axes, bars, pixels)
    _label_bars(axes, bars, pixels)
    draw_bounds(axes, bars.makespan, lower_bound)
    return figure


def _style_axes(axes: "Axes", num_machines: int) -> None:
    """Machine names on the left, time below, a pale band behind each machine."""
    rows = range(num_machines)
    axes.barh(rows, axes.get_xlim()[1], height=BAR_HEIGHT, color=PALE, zorder=0)
    axes.set_yticks(rows, [f"M{machine}" for machine in rows], fontsize=8.5, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=INK, color=INK)
    axes.set_xlabel("time (bars carry the number of their job)", fontsize=8.5, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw_bars(axes: "Axes", bars: Bars, pixels: NDArray[np.float64]) -> None:
    """All bars as one collection; a bar of a few pixels has no white edge, which would hide it."""
    from matplotlib.collections import PolyCollection

    low = bars.machines - BAR_HEIGHT / 2
    high = low + BAR_HEIGHT
    x = np.stack([bars.starts, bars.ends, bars.ends, bars.starts], axis=-1)
    y = np.stack([low, low, high, high], axis=-1)
    axes.add_collection(
        PolyCollection(
            list(np.stack([x, y], axis=-1)),  # n times (4, 2)
            facecolors=job_colours(bars.num_jobs)[bars.jobs],
            edgecolors="white",
            linewidths=np.where(pixels < 4, 0, 0.6),
            zorder=2,
        )
    )


def _label_bars(axes: "Axes", bars: Bars, pixels: NDArray[np.float64]) -> None:
    """Write the job's number into each bar with room for it."""
    colours = job_colours(bars.num_jobs)
    light = colours @ (0.299, 0.587, 0.114) > 0.52
    for job, machine, middle, room in zip(
        bars.jobs.tolist(),
        bars.machines.tolist(),
        ((bars.starts + bars.ends) / 2).tolist(),
        (pixels - 2).tolist(),
        strict=True,
    ):
        width_per_point = 0.64 * len(str(job)) * DPI / 72
        size = next((size for size in LABEL_SIZES if width_per_point * size <= room), None)
        if size is not None:
            axes.text(
                middle,
                machine,
                str(job),
                fontsize=size,
                color=INK if light[job] else "white",
                ha="center",
                va="center_baseline",
                zorder=3,
            )
