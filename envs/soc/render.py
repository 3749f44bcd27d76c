"""Pictures of schedules of streams: one row per processor, one colour per job type.

A thin line leads from the end of a task to where and when its data arrive on another processor.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.family import BestKnown
from makespan.envs.core.gantt import DPI, INK, PALE, own_style, pixels_of, save, write_titles
from makespan.envs.core.trace import ChromeTrace
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.solution import StreamSolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIRE = "#7a8087"
BAR_HEIGHT = 0.8  # of a processor's row
LABEL_SIZES = (8.0, 7.0, 6.0, 5.0)  # points, the largest that fits is taken
#: A chart shows at most this many jobs, the first of the stream.
MAX_JOBS = 24


def draw(
    instance: StreamInstance,
    solution: StreamSolution,
    path: Path,
    *,
    policy: str = "",
    lower_bound: float | None = None,
    best_known: BestKnown | None = None,
) -> None:
    """Draw the first jobs of a schedule; the suffix of ``path`` chooses the format.

    The same arguments give the same bytes.

    Args:
        instance: what was solved.
        solution: the schedule.
        path: of the picture, ending in ``.png``, ``.svg`` or ``.pdf``.
        policy: what made the schedule, for the title.
        lower_bound: on the mean latency, for the title.
        best_known: not used: there are no published bounds.
    """
    shown = solution.jobs < MAX_JOBS
    columns = {
        name: getattr(solution, name)[shown]
        for name in ("jobs", "tasks", "processors", "starts", "ends")
    }
    sentence = f"mean latency {solution.objective(instance):.1f} us"
    if lower_bound:
        sentence += f", lower bound {lower_bound:.1f} us"
    if instance.num_jobs > MAX_JOBS:
        sentence += f"; the first {MAX_JOBS} of {instance.num_jobs} jobs"
    with own_style():
        figure, axes = _figure(
            columns,
            instance.types[columns["jobs"]],
            instance.platform.processor_names,
            instance.platform.job_names,
            width=20,
        )
        _draw_transfers(axes, columns, instance)
        write_titles(figure, instance.name, sentence, policy)
        save(figure, path)


def rgb_array(
    scheduled: Mapping[str, NDArray[np.int64]],
    *,
    types: NDArray[np.int32],
    num_types: int,
    num_processors: int,
) -> NDArray[np.uint8]:
    """What has started, as pixels, for ``render_mode="rgb_array"``.

    Args:
        scheduled: (n,) columns ``jobs``, ``tasks``, ``processors``, ``starts``, ``ends``; n may be
            0.
        types: (n,) type of the job of each task.
        num_types, num_processors: of the platform.

    Returns:
        (height, width, 3) uint8; the size depends on the number of processors alone.
    """
    processors = tuple(f"p{p}" for p in range(num_processors))
    names = tuple(f"type {j}" for j in range(num_types))
    with own_style():
        figure, _ = _figure(scheduled, types, processors, names, width=10)
        write_titles(figure, "", f"{len(types)} tasks started")
        return pixels_of(figure)


def chrome_trace(instance: StreamInstance, solution: StreamSolution) -> dict[str, Any]:
    """A schedule as trace events: tasks, transfers between processors, jobs in the system."""
    platform = instance.platform
    trace = ChromeTrace(instance.name, platform.processor_names)
    offsets = platform.task_offsets.tolist()
    rows = {(row.job, row.task): row for row in solution.rows()}
    for (job, task), row in sorted(rows.items()):
        kind = int(instance.types[job])
        name = platform.task_names[offsets[kind] + task]
        trace.task(
            row.processor, name, row.start, row.end, job=job, job_type=platform.job_names[kind]
        )
    for number, (before, after, _) in enumerate(_transfers(rows, instance)):
        trace.flow(
            number,
            f"job {before.job}",
            (before.processor, before.start, before.end),
            (after.processor, after.start),
        )
    present = 0
    stays = solution.stays(instance)
    changes = [(s.entered, 1) for s in stays] + [(s.left, -1) for s in stays if s.left is not None]
    for time, change in sorted(changes):
        present += change
        trace.counter("jobs in the system", time, present)
    return trace.to_dict()


def _transfers(rows: Mapping[tuple[int, int], Any], instance: StreamInstance) -> Any:
    """(before, after, microseconds) of the transfers between two processors."""
    platform = instance.platform
    offsets = platform.task_offsets.tolist()
    by_type: dict[int, list[tuple[int, int, int]]] = {}
    for a, b, volume in platform.edges.tolist():
        kind = int(np.searchsorted(platform.task_offsets, a, side="right")) - 1
        by_type.setdefault(kind, []).append((a - offsets[kind], b - offsets[kind], volume))
    for job in dict.fromkeys(job for job, _ in rows):
        for a, b, volume in by_type.get(int(instance.types[job]), []):
            before, after = rows.get((job, a)), rows.get((job, b))
            if before and after and before.processor != after.processor:
                k, q = platform.cluster_of[[before.processor, after.processor]]
                yield before, after, volume // int(platform.bandwidths[k, q])


def _figure(
    columns: Mapping[str, NDArray[np.int64]],
    types: NDArray[np.int32],
    processors: tuple[str, ...],
    job_names: tuple[str, ...],
    width: float,
) -> tuple["Figure", "Axes"]:
    """The chart without titles and transfers; ``width`` in inches."""
    from matplotlib import color_sequences
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba_array
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    height = 1.6 + 0.3 * len(processors)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    left, right, bottom, top = 0.25 + 0.08 * max(map(len, processors)), 0.2, 0.5, 1.0  # inches
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    )
    end = max(int(columns["ends"].max(initial=0)), 1) * 1.01
    axes.set_xlim(0, end)
    axes.set_ylim(len(processors) - 0.5, -0.5)
    rows = range(len(processors))
    axes.barh(rows, end, height=BAR_HEIGHT, color=PALE, zorder=0)
    axes.set_yticks(rows, processors, fontsize=8.5, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=INK, color=INK)
    axes.set_xlabel("microseconds (bars carry the number of their job)", fontsize=8.5, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    palette = to_rgba_array(color_sequences["petroff10"])[:, :3]
    colours = palette[types % len(palette)]
    starts, ends = columns["starts"], columns["ends"]
    low = columns["processors"] - BAR_HEIGHT / 2
    high = low + BAR_HEIGHT
    x = np.stack([starts, ends, ends, starts], axis=-1)
    y = np.stack([low, low, high, high], axis=-1)
    pixels = (ends - starts) * (width - left - right) * DPI / end
    axes.add_collection(
        PolyCollection(
            list(np.stack([x, y], axis=-1)),  # n times (4, 2)
            facecolors=colours,
            edgecolors="white",
            linewidths=np.where(pixels < 4, 0, 0.5),
            zorder=2,
        )
    )
    light = colours @ (0.299, 0.587, 0.114) > 0.52
    for i, job in enumerate(columns["jobs"].tolist()):
        width_per_point = 0.64 * len(str(job)) * DPI / 72
        size = next((s for s in LABEL_SIZES if width_per_point * s <= pixels[i] - 2), None)
        if size is not None:
            axes.text(
                (starts[i] + ends[i]) / 2,
                float(columns["processors"][i]),
                str(job),
                fontsize=size,
                color=INK if light[i] else "white",
                ha="center",
                va="center_baseline",
                zorder=4,
            )
    handles = [
        Patch(color=palette[j % len(palette)], label=job_names[j])
        for j in np.unique(types).tolist()
    ]
    if handles:
        figure.legend(
            handles=handles,
            loc="upper right",
            bbox_to_anchor=(1 - right / width, 1 - 0.08 / height),
            ncols=5,
            fontsize=7.5,
            frameon=False,
        )
    return figure, axes


def _draw_transfers(
    axes: "Axes", columns: Mapping[str, NDArray[np.int64]], instance: StreamInstance
) -> None:
    """A line for each transfer that takes time."""
    from matplotlib.collections import LineCollection

    from makespan.envs.soc.solution import Row

    names = ("jobs", "tasks", "processors", "starts", "ends")
    rows = [Row(*row) for row in zip(*(columns[n].tolist() for n in names), strict=True)]
    placed = {(row.job, row.task): row for row in rows}
    lines = [
        [(before.end, before.processor), (before.end + moving, after.processor)]
        for before, after, moving in _transfers(placed, instance)
        if moving
    ]
    axes.add_collection(LineCollection(lines, colors=WIRE, linewidths=0.5, alpha=0.7, zorder=3))
