"""Gantt charts of blocking job shops: bars of the job shop, paler where a job blocks a machine.

Shutdowns are hatched.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.solution import BlockingSolution
from makespan.envs.core.family import BestKnown
from makespan.envs.core.gantt import (
    INK,
    chart_width,
    gap_sentence,
    own_style,
    pixels_of,
    save,
    write_titles,
)
from makespan.envs.jobshop.render import BAR_HEIGHT, Bars, chart, job_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(
    instance: BlockingInstance,
    solution: BlockingSolution,
    path: Path,
    *,
    policy: str = "",
    lower_bound: float | None = None,
    best_known: BestKnown | None = None,
) -> None:
    """Draw a schedule into a picture file, see :func:`makespan.envs.jobshop.render.draw`."""
    columns = {name: getattr(solution, name) for name in solution.columns()}
    width = chart_width(solution.machines, 0.2)
    with own_style():
        figure = _figure(columns, instance.num_jobs, instance.num_machines, width, lower_bound)
        axes = figure.axes[0]
        for machine, shutdowns in enumerate(instance.shutdowns):
            shown = [(a, b - a) for a, b in shutdowns if a < solution.makespan]
            axes.broken_barh(
                shown,
                (machine - BAR_HEIGHT / 2, BAR_HEIGHT),
                facecolor="none",
                edgecolor=INK,
                hatch="////",
                linewidth=0,
                zorder=3,
            )
        write_titles(
            figure,
            f"{instance.name} ({instance.num_jobs} jobs, {instance.num_machines} machines)",
            gap_sentence(solution.makespan, lower_bound, best_known)
            + "; paler: done, but blocking; hatched: machine down",
            policy,
        )
        save(figure, path)


def rgb_array(
    scheduled: Mapping[str, NDArray[np.int64]],
    *,
    num_jobs: int,
    num_machines: int,
    lower_bound: float | None = None,
) -> NDArray[np.uint8]:
    """A complete or partial schedule as (height, width, 3) pixels."""
    with own_style():
        figure = _figure(scheduled, num_jobs, num_machines, 10, lower_bound)
        write_titles(figure, "", f"{len(scheduled['jobs'])} operations begun")
        return pixels_of(figure)


def _figure(
    columns: Mapping[str, NDArray[np.int64]],
    num_jobs: int,
    num_machines: int,
    width: float,
    lower_bound: float | None,
) -> "Figure":
    jobs, machines, starts, ends = (
        columns[name] for name in ("jobs", "machines", "starts", "ends")
    )
    bars = Bars(jobs, machines, starts, ends, num_jobs, num_machines)
    figure = chart(bars, width, lower_bound, horizon=None)
    figure.axes[0].barh(
        bars.machines,
        columns["leaves"] - bars.ends,
        left=bars.ends,
        height=BAR_HEIGHT,
        color=job_colours(num_jobs)[bars.jobs],
        alpha=0.3,
        zorder=2,
    )
    return figure
