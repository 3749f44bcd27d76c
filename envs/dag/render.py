"""Pictures of schedules of task graphs: one row per processor, arrows for communication.

Bars are coloured by the level of the task in the graph (the number of tasks on the longest chain
before it), so that progress through the graph is seen; an arrow goes from the end of a task to the
arrival of its result on another processor.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from makespan.envs.core.trace import ChromeTrace
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.solution import TaskGraphSolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARROW = "#7a8087"
BAR_HEIGHT = 0.7  # of a processor's row
#: Above this many transfers between processors arrows would hide the bars.
MAX_ARROWS = 250


def draw(
    instance: TaskGraphInstance,
    solution: TaskGraphSolution,
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
    lower_bound = known_bound(lower_bound, best_known)
    columns = {name: getattr(solution, name) for name in solution.columns()}
    width = chart_width(solution.processors, 0.3)
    title = f"{instance.name} ({instance.num_tasks} tasks, {instance.num_processors} processors)"
    with own_style():
        figure, axes = _figure(
            columns, instance.processors, _levels(instance), instance.tasks, width, lower_bound
        )
        shown = _draw_communication(axes, instance, solution)
        sentence = gap_sentence(solution.makespan, lower_bound, best_known)
        write_titles(figure, title, sentence + shown, policy)
        save(figure, path)


def rgb_array(
    scheduled: Mapping[str, NDArray[np.int64]],
    *,
    num_tasks: int,
    num_processors: int,
    lower_bound: float | None = None,
) -> NDArray[np.uint8]:
    """A complete or partial schedule as pixels, for ``render_mode="rgb_array"``.

    Args:
        scheduled: (n,) columns ``tasks``, ``processors``, ``starts``, ``ends``; n may be 0.
        num_tasks, num_processors: of the instance.
        lower_bound: on the makespan; drawn as a line.

    Returns:
        (height, width, 3) uint8; the size depends on the number of processors alone.
    """
    names = tuple(f"p{p}" for p in range(num_processors))
    tasks = tuple(map(str, range(num_tasks)))
    with own_style():
        figure, _ = _figure(scheduled, names, np.zeros(num_tasks), tasks, 10, lower_bound)
        write_titles(figure, "", f"{len(scheduled['tasks'])} of {num_tasks} tasks scheduled")
        return pixels_of(figure)


def chrome_trace(instance: TaskGraphInstance, solution: TaskGraphSolution) -> dict[str, Any]:
    """A schedule in the Chrome trace-event format, which Perfetto and chrome://tracing open.

    One thread per processor, one bar per task, one arrow per transfer between processors; a time
    unit of the instance is shown as a microsecond.
    """
    trace = ChromeTrace(instance.name, instance.processors)
    rows = {row.task: row for row in solution.rows()}
    for task, row in sorted(rows.items()):
        trace.task(row.processor, instance.tasks[task], row.start, row.end, task=task)
    for edge, (u, v) in enumerate(instance.edges.tolist()):
        before, after = rows[u], rows[v]
        if before.processor != after.processor:
            trace.flow(
                edge,
                f"{instance.tasks[u]} to {instance.tasks[v]}",
                (before.processor, before.start, before.end),
                (after.processor, after.start),
            )
    return trace.to_dict()


def _levels(instance: TaskGraphInstance) -> NDArray[np.float64]:
    """(T,) number of tasks on the longest chain before each, over the largest."""
    level = np.zeros(instance.num_tasks)
    for task in instance.topological_order:
        out = slice(instance.first_out[task], instance.first_out[task + 1])
        children = instance.edges[out, 1]
        level[children] = np.maximum(level[children], level[task] + 1)
    share: NDArray[np.float64] = level / max(level.max(), 1)
    return share


def _figure(
    columns: Mapping[str, NDArray[np.int64]],
    processors: tuple[str, ...],
    levels: NDArray[np.float64],
    tasks: tuple[str, ...],
    width: float,
    lower_bound: float | None,
) -> tuple["Figure", "Axes"]:
    """The chart without titles and arrows; ``width`` in inches."""
    from matplotlib import colormaps
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    height = 1.45 + 0.42 * len(processors)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    left = 0.25 + 0.075 * max(map(len, processors))
    right, bottom, top = 0.2, 0.5, 0.85  # inches
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    )
    makespan = int(columns["ends"].max(initial=0))
    end = max(makespan, lower_bound or 0, 1) * 1.01
    axes.set_xlim(0, end)
    axes.set_ylim(len(processors) - 0.5, -0.5)
    rows = range(len(processors))
    axes.barh(rows, end, height=BAR_HEIGHT, color=PALE, zorder=0)
    axes.set_yticks(rows, processors, fontsize=8.5, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=INK, color=INK)
    axes.set_xlabel("time (bars carry the name of their task)", fontsize=8.5, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    starts, ends = columns["starts"], columns["ends"]
    low = columns["processors"] - BAR_HEIGHT / 2
    high = low + BAR_HEIGHT
    x = np.stack([starts, ends, ends, starts], axis=-1)
    y = np.stack([low, low, high, high], axis=-1)
    colours = colormaps["viridis"](0.15 + 0.75 * levels[columns["tasks"]])[:, :3]
    pixels = (ends - starts) * (width - left - right) * DPI / end
    axes.add_collection(
        PolyCollection(
            list(np.stack([x, y], axis=-1)),  # n times (4, 2)
            facecolors=colours,
            edgecolors="white",
            linewidths=np.where(pixels < 4, 0, 0.6),
            zorder=2,
        )
    )
    light = colours @ (0.299, 0.587, 0.114) > 0.5
    for i, task in enumerate(columns["tasks"].tolist()):
        width_per_point = 0.64 * len(tasks[task]) * DPI / 72
        size = next((s for s in LABEL_SIZES if width_per_point * s <= pixels[i] - 2), None)
        if size is not None:
            axes.text(
                (starts[i] + ends[i]) / 2,
                float(columns["processors"][i]),
                tasks[task],
                fontsize=size,
                color=INK if light[i] else "white",
                ha="center",
                va="center_baseline",
                zorder=5,
            )
    draw_bounds(axes, makespan, lower_bound)
    return figure, axes


def _draw_communication(
    axes: "Axes", instance: TaskGraphInstance, solution: TaskGraphSolution
) -> str:
    """Arrows of the transfers that take time; returns what to say when they are left out."""
    rows = {row.task: row for row in solution.rows()}
    arrows = []
    for edge, (u, v) in enumerate(instance.edges.tolist()):
        delay = int(instance.delays[edge, instance.link[rows[u].processor, rows[v].processor]])
        if delay:
            arrows.append((rows[u], rows[v].processor, delay))
    if len(arrows) > MAX_ARROWS:
        return f"; {len(arrows)} transfers not drawn"
    for before, processor, delay in arrows:
        side = BAR_HEIGHT / 2 * np.sign(processor - before.processor)
        axes.annotate(
            "",
            (before.end + delay, processor - side),
            (before.end, before.processor + side),
            arrowprops={
                "arrowstyle": "-|>,head_width=0.12,head_length=0.25",
                "color": ARROW,
                "lw": 0.7,
                "shrinkA": 0,
                "shrinkB": 0,
            },
            zorder=3,
        )
    return f"; arrows: {len(arrows)} transfers between processors" if arrows else ""
