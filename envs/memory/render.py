"""Pictures of a memory plan: fast memory over time, copies, and the supply of copy time.

Above, the map: what lies where (bytes) in fast memory during which instructions; hatched parts are
copies on their way, dots where an access is served. In the middle, one line for each copy over its
window. Below, how much of each instruction copies use, and what each saves. Instructions have equal
width, so short ones can be seen.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.family import BestKnown
from makespan.envs.core.gantt import DPI, INK, PALE, own_style, pixels_of, save
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.solution import COPY, DROP, MemoryPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COPY_COLOUR, SAVED = "#00687a", "#9c9ca1"


@dataclass(frozen=True)
class Chart:
    """What a picture shows.

    Attributes:
        instructions: number of instructions.
        capacity: bytes of fast memory.
        pieces: (n, 6) int64: buffer, first and last instruction, offset, size, and the first
            instruction after the copy (the same as the first one where nothing is copied).
        served: (m, 3) int64: instruction, offset and size of every access served from fast memory.
        load: (instructions,) share of the supply of each instruction that copies use.
        saved: (instructions,) share of the latency of each instruction that is saved.
        decided: number of instructions decided so far.
    """

    instructions: int
    capacity: int
    pieces: NDArray[np.int64]
    served: NDArray[np.int64]
    load: NDArray[np.float64]
    saved: NDArray[np.float64]
    decided: int


def chart(instance: MemoryInstance, plan: MemoryPlan) -> Chart:
    """The chart of a plan."""
    rectangles = plan.rectangles(instance)
    pieces = [
        (r.buffer, r.first, r.last, r.offset, r.size, r.last if copied else r.first)
        for r in rectangles
        for copied in [plan.actions[r.access] == COPY]
    ]
    fast = np.flatnonzero(plan.fast)
    served = np.stack(
        [instance.instructions[fast], plan.offsets[fast], instance.pieces[instance.buffers[fast]]],
        axis=1,
    )
    left = instance.slow_latencies.tolist()
    for copy in sorted(plan.copies(instance), key=lambda copy: (copy.due, copy.access)):
        time = copy.time
        for t in range(copy.first, copy.due):
            used = min(left[t], time)
            left[t] -= used
            time -= used
    slow = instance.slow_latencies
    return Chart(
        instructions=instance.num_instructions,
        capacity=instance.capacity,
        pieces=np.array(pieces, dtype=np.int64).reshape(-1, 6),
        served=served.astype(np.int64),
        load=_shares(slow - np.array(left), slow),
        saved=_shares(slow - instance.latencies(plan.fast), slow),
        decided=instance.num_instructions,
    )


def _shares(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Parts / wholes; 0 where both are 0, for instructions that take no time."""
    shares: NDArray[np.float64] = parts / np.maximum(wholes, 1)
    return shares


def _percent(latency: float, instance: MemoryInstance) -> str:
    """A latency in percent of everything in slow memory, which may take no time."""
    return f"{100 * latency / max(instance.all_slow, 1):.2f} %"


def chart_of_state(state: Any, row: int) -> Chart:
    """The chart of a game as far as it has been played."""
    from makespan.envs.memory import kernel

    constants, totals = state.constants[row], state.totals[row, 0]
    decided = int(totals[kernel.POSITION])
    access = state.access[row, :decided]
    action, start, offset = state.decided[row, :decided].T
    times, buffers = access[:, kernel.INSTRUCTION_OF], access[:, kernel.BUFFER_OF]
    before = access[:, kernel.PREVIOUS]
    sizes = state.memory[row, buffers, kernel.PIECE]
    stayed = np.where(before >= 0, times[np.maximum(before, 0)] + 1 if decided else 0, 0)
    first = np.where(action >= COPY, start + 1, stayed)
    first = np.where(access[:, kernel.IS_WRITE] > 0, times, np.minimum(first, times))
    ready = np.where(action >= COPY, times, first)
    fast = action != DROP
    count = int(constants[kernel.INSTRUCTIONS])
    latency = np.maximum(
        state.clock[row, :count, kernel.COMPUTE], state.flow[row, 0, :count, kernel.TRAFFIC]
    )
    slow = np.diff(state.clock[row, : count + 1, kernel.ELAPSED])
    used = _shares(slow - state.flow[row, 0, :count, kernel.SUPPLY], slow)
    return Chart(
        instructions=count,
        capacity=int(constants[kernel.CAPACITY]),
        pieces=np.stack([buffers, first, times, offset, sizes, ready], axis=1)[fast],
        served=np.stack([times, offset, sizes], axis=1)[fast],
        load=np.where(constants[kernel.DYNAMIC], 0.0, np.clip(used, 0, 1)),
        saved=_shares(slow - latency, slow),
        decided=int(times[-1]) + 1 if decided else 0,
    )


def draw(
    instance: MemoryInstance,
    solution: MemoryPlan,
    path: Path,
    *,
    policy: str = "",
    lower_bound: float | None = None,
    best_known: BestKnown | None = None,
) -> None:
    """Draw a plan into a picture file; the suffix of ``path`` chooses the format.

    Args:
        instance: what was solved.
        solution: the plan.
        path: of the picture, ending in ``.png``, ``.svg`` or ``.pdf``.
        policy: what made the plan, for the title.
        lower_bound: on the latency; the title states the gap.
        best_known: not used; there are no published optima.
    """
    latency = solution.objective(instance)
    sentence = (
        f"latency {_percent(latency, instance)} of everything in slow memory, "
        f"{int(solution.fast.sum())} of {instance.num_accesses} accesses fast, "
        f"{len(solution.copies(instance))} copies, {len(solution.evictions(instance))} evictions"
    )
    if lower_bound:
        sentence += f"; lower bound {_percent(lower_bound, instance)}"
    title = ", ".join(part for part in (instance.name, policy) if part)
    _save([chart(instance, solution)], [title], [sentence], path)


def draw_difference(
    instance: MemoryInstance,
    plans: tuple[MemoryPlan, MemoryPlan],
    path: Path,
    names: tuple[str, str] = ("first", "second"),
) -> None:
    """Draw two plans of one instance above each other, and where they differ in time.

    Args:
        instance: what was solved.
        plans: two plans of it.
        path: of the picture.
        names: of the plans.
    """
    latencies = [instance.latencies(plan.fast) for plan in plans]
    sentences = []
    for number, plan in enumerate(plans):
        better = int((latencies[number] < latencies[1 - number]).sum())
        percent = _percent(plan.objective(instance), instance)
        different = int((plan.fast != plans[1 - number].fast).sum())
        sentences.append(
            f"latency {percent} of everything in slow memory; faster in {better} of "
            f"{instance.num_instructions} instructions; {different} accesses are served otherwise"
        )
    _save([chart(instance, plan) for plan in plans], list(names), sentences, path)


def rgb_array(state: Any, row: int) -> NDArray[np.uint8]:
    """A game as far as it has been played as pixels, (height, width, 3) uint8."""
    shown = chart_of_state(state, row)
    with own_style():
        figure = _figure([shown], [""], [f"{shown.decided} of {shown.instructions} instructions"])
        return pixels_of(figure)


def _save(charts: list[Chart], titles: list[str], sentences: list[str], path: Path) -> None:
    with own_style():
        figure = _figure(charts, titles, sentences)
        save(figure, path)


def _figure(charts: list[Chart], titles: list[str], sentences: list[str]) -> "Figure":
    """One block of three axes for each chart."""
    from matplotlib.figure import Figure

    width, block = 11.0, 5.0  # inches
    height = block * len(charts)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    left, right = 0.85 / width, 1 - 0.2 / width
    for number, shown in enumerate(charts):
        top = 1 - number * block / height

        def axes(down: float, tall: float, top: float = top) -> "Axes":
            return figure.add_axes(
                (left, top - (down + tall) / height, right - left, tall / height)
            )

        _draw_map(axes(0.6, 2.7), shown)
        _draw_copies(axes(3.35, 0.5), shown)
        _draw_bars(axes(3.95, 0.5), shown)
        x = 0.12 / width
        figure.text(x, top - 0.1 / height, titles[number], fontsize=12, weight="bold", va="top")
        figure.text(x, top - 0.34 / height, sentences[number], fontsize=9.5, va="top", color=INK)
    return figure


def _colours(buffers: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 3), ten colours in turn (Petroff, arXiv 2107.02270)."""
    from matplotlib import color_sequences
    from matplotlib.colors import to_rgba_array

    base = to_rgba_array(color_sequences["petroff10"])[:, :3]
    return base[buffers % len(base)]


def _style(axes: "Axes", shown: Chart, label: str, last: bool) -> None:
    axes.set_xlim(0, shown.instructions)
    axes.set_ylabel(label, fontsize=8.5, color=INK)
    axes.tick_params(labelsize=8.5, labelcolor=INK, color=INK, labelbottom=last)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_map(axes: "Axes", shown: Chart) -> None:
    """What lies where when."""
    from matplotlib.collections import PolyCollection

    unit, name = _byte_unit(shown.capacity)
    _style(axes, shown, f"fast memory ({name})", last=False)
    axes.set_ylim(0, max(shown.capacity, 1) / unit)
    axes.set_facecolor(PALE)
    buffer, first, last, offset, size, ready = shown.pieces.T
    low, high = offset / unit, (offset + size) / unit
    colours = _colours(buffer)

    def boxes(begin: NDArray[Any], end: NDArray[Any]) -> list[Any]:
        x = np.stack([begin, end, end, begin], axis=-1)
        y = np.stack([low, low, high, high], axis=-1)
        return list(np.stack([x, y], axis=-1))

    pixels = 9.95 * DPI / shown.instructions
    edge = 0.4 if pixels > 4 else 0.0
    kept = PolyCollection(
        boxes(ready, last + 1), facecolors=colours, edgecolors="white", linewidths=edge, zorder=2
    )
    axes.add_collection(kept)
    copied = PolyCollection(
        boxes(first, ready), facecolors=0.55 + 0.45 * colours, edgecolors="white", linewidths=0.0,
        hatch="////", zorder=2,
    )  # fmt: skip
    axes.add_collection(copied)
    times, places, sizes = shown.served.T
    dot = np.clip(pixels / 3, 0.6, 3.5) ** 2
    axes.scatter(times + 0.5, (places + sizes / 2) / unit, s=dot, color=INK, lw=0, zorder=3)
    if shown.decided < shown.instructions:
        axes.axvline(shown.decided, color=INK, lw=1)


def _draw_copies(axes: "Axes", shown: Chart) -> None:
    """A line over the window of each copy, in as many lanes as overlap."""
    _style(axes, shown, "copies", last=False)
    copied = shown.pieces[shown.pieces[:, 1] < shown.pieces[:, 5]]
    free: list[int] = []  # instruction from which each lane is free
    for buffer, first, _, _, _, ready in copied[np.argsort(copied[:, 1], kind="stable")].tolist():
        lane = next((lane for lane, time in enumerate(free) if time <= first), len(free))
        free[lane : lane + 1] = [ready]
        axes.plot([first, ready], [lane, lane], color=_colours(np.array([buffer]))[0], lw=1.6,
                  solid_capstyle="butt")  # fmt: skip
    axes.set_ylim(-0.8, max(len(free), 1) - 0.2)
    axes.set_yticks([])


def _draw_bars(axes: "Axes", shown: Chart) -> None:
    """Copy time used upwards, latency saved downwards, for each instruction."""
    _style(axes, shown, "use / save", last=True)
    x = np.arange(shown.instructions) + 0.5
    axes.bar(x, shown.load, width=1.0, color=COPY_COLOUR, label="copy time used")
    axes.bar(x, -shown.saved, width=1.0, color=SAVED, label="latency saved")
    axes.axhline(0, color=INK, lw=0.6)
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1, 1], ["100 %", "100 %"])
    axes.legend(fontsize=7.5, loc="upper right", ncols=2, frameon=False, borderpad=0)
    axes.set_xlabel("instruction", fontsize=8.5, color=INK, labelpad=1)


def _byte_unit(capacity: int) -> tuple[int, str]:
    for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if capacity >= 2**power:
            return 2**power, name
    return 1, "bytes"
