"""Pictures of a routed cluster over time, one panel a replica.

``draw`` shows batch, queue and memory from the iterations of a replay; ``rgb_array``, which must
work in the middle of an episode, shows requests before and after their first token.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.family import BestKnown
from makespan.envs.core.gantt import DPI, INK, own_style, pixels_of, save
from makespan.envs.routing.instance import ROLES, RoutingInstance
from makespan.envs.routing.replay import Iteration
from makespan.envs.routing.solution import RoutingSolution, replayed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCH, QUEUE, MEMORY = "#5790fc", "#f89c20", "#00687a"
WIDTH, PANEL = 10.0, 1.25  # inches


def draw(
    instance: RoutingInstance,
    solution: RoutingSolution,
    path: Path,
    *,
    policy: str = "",
    lower_bound: float | None = None,
    best_known: BestKnown | None = None,
) -> None:
    """Draw batch size, queue and memory of every replica over time into a picture file.

    Args:
        instance: what was solved.
        solution: the decisions.
        path: of the picture, ending in ``.png``, ``.svg`` or ``.pdf``.
        policy: what decided, for the title.
        lower_bound: on the mean latency, for the title.
        best_known: not used: there are no published optima.
    """
    outcome = replayed(instance, solution)
    with own_style():
        figure, panels = _figure(instance.num_replicas)
        for r, axes in enumerate(panels):
            own = [it for it in outcome.iterations if it.replica == r]
            _draw_iterations(axes, own, int(instance.kv_blocks[r]))
            role = "" if not instance.role[r] else f", {ROLES[instance.role[r]]}"
            axes.set_title(f"{r}: {instance.kinds[r]}{role}", **_title(7.5))
        end = float(solution.end.max()) * 1.01
        _finish(panels, end)
        mean = solution.objective(instance)
        text = f"{instance.name}, {policy}: mean latency {mean:.3g} s"
        if lower_bound is not None:
            text += f" (alone {lower_bound:.3g} s)"
        text += f", {int(solution.preemptions.sum())} preemptions"
        figure.suptitle(text, x=0.06, ha="left", fontsize=9.5, color=INK)
        _legend(figure, {"batch": BATCH, "queue": QUEUE, "memory in use (right, %)": MEMORY})
        save(figure, path)


def rgb_array(
    record: Mapping[str, NDArray[Any]],
    *,
    arrival: NDArray[np.float64],
    num_replicas: int,
    now: float,
) -> NDArray[np.uint8]:
    """Requests at each replica over time, before and after their first token, as pixels.

    Args:
        record: columns of a solution; NaN where something has not happened yet.
        arrival: (n,) of the requests.
        num_replicas: panels.
        now: what has not happened yet is drawn up to here.

    Returns:
        (height, width, 3) uint8; the size depends on the number of replicas alone.
    """
    first, end = (np.nan_to_num(record[column], nan=now) for column in ("first_token", "end"))
    moved = record["decoder"] >= 0
    decodes_at = np.where(moved, record["decoder"], record["replica"])
    with own_style():
        figure, panels = _figure(num_replicas)
        for r, axes in enumerate(panels):
            here, decoding = record["replica"] == r, decodes_at == r
            _steps(axes, record["release"][here], first[here], QUEUE)
            _steps(axes, first[decoding], end[decoding], BATCH)
            axes.set_title(f"replica {r}", **_title(7.5))
        _finish(panels, max(now, float(arrival[-1]), 1e-3))
        done = int(np.isfinite(record["end"]).sum())
        text = f"{now:.2f} s: {done} of {len(arrival)} requests have ended"
        figure.suptitle(text, x=0.06, ha="left", fontsize=9.5, color=INK)
        _legend(figure, {"before the first token": QUEUE, "decoding": BATCH})
        return pixels_of(figure)


def _title(size: float) -> dict[str, Any]:
    return {"loc": "left", "fontsize": size, "color": INK, "pad": 2}


def _figure(panels: int) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    height = 0.95 + PANEL * panels
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    grid = figure.subplots(panels, 1, sharex=True, squeeze=False)
    figure.subplots_adjust(
        left=0.06, right=0.94, top=1 - 0.6 / height, bottom=0.4 / height, hspace=0.35
    )
    return figure, list(grid[:, 0])


def _draw_iterations(axes: "Axes", iterations: list[Iteration], blocks: int) -> None:
    if not iterations:
        return
    start = np.array([it.start for it in iterations])
    axes.step(start, [it.batch for it in iterations], BATCH, where="post", lw=1)
    axes.fill_between(start, [it.waiting for it in iterations], step="post", color=QUEUE, alpha=0.6)
    share = axes.twinx()
    share.plot(start, [100 * it.used / blocks for it in iterations], MEMORY, lw=0.9)
    share.set_ylim(0, 103)
    share.tick_params(labelsize=6.5, colors=MEMORY)
    share.spines[["top", "left"]].set_visible(False)


def _steps(axes: "Axes", start: NDArray[np.float64], end: NDArray[np.float64], colour: str) -> None:
    """How many of the intervals contain each time."""
    times = np.concatenate([start, end])
    change = np.concatenate([np.ones(len(start)), -np.ones(len(end))])
    order = np.argsort(times, kind="stable")
    axes.step(times[order], np.cumsum(change[order]), colour, where="post", lw=1)


def _finish(panels: "list[Axes]", end: float) -> None:
    for axes in panels:
        axes.set_xlim(0, end)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=6.5, colors=INK)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("time (s)", fontsize=7.5, color=INK)


def _legend(figure: "Figure", colours: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, lw=2) for colour in colours.values()]
    figure.legend(
        handles, list(colours), loc="lower right", ncols=3, fontsize=7, frameon=False,
        bbox_to_anchor=(0.945, 0.0),
    )  # fmt: skip
