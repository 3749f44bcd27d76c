"""The validator: worked examples, mistakes, and all that the definition says."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.blocking.examples import CROSSING, CROSSING_WITHOUT_SWAP
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.solution import BlockingSolution, Row, processing_end
from makespan.envs.core.errors import InvalidSolutionError
from makespan.tests.acceptance import accepts
from makespan.tests.blocking_reference import instances

SWAPPED = BlockingSolution.from_starts(CROSSING, [0, 3, 0, 3])


@given(
    times=st.lists(st.integers(1, 60), max_size=8, unique=True).map(sorted),
    duration=st.integers(1, 20),
    mode=st.sampled_from(["resume", "restart", "hold"]),
)
def test_the_end_of_an_operation(times: list[int], duration: int, mode: str) -> None:
    """Against a count of time units in which the machine is up."""
    shutdowns = list(zip(times[::2], times[1::2], strict=False))
    down = {t for start, end in shutdowns for t in range(start, end)}
    assert processing_end(shutdowns, mode, 0, duration) == end_by_counting(down, mode, 0, duration)


def _changed(index: int, **columns: int) -> BlockingSolution:
    rows = list(SWAPPED.rows())
    rows[index] = rows[index]._replace(**columns)
    return BlockingSolution(*np.array(rows).T)


def test_a_valid_schedule_and_what_is_wrong_with_others() -> None:
    SWAPPED.validate(CROSSING)
    assert BlockingSolution.from_dict(SWAPPED.to_dict()) == SWAPPED
    with pytest.raises(InvalidSolutionError, match="jobs 0, 1 change places at 3"):
        SWAPPED.validate(CROSSING_WITHOUT_SWAP)
    for wrong, message in (
        (_changed(0, end=2), "found end 2, expected 3"),
        (_changed(1, machine=0), "found machine 0, expected 1"),
        (_changed(0, leave=4), "expected to leave when"),
        (_changed(3, leave=8), "it is the last of its job"),
        (_changed(2, start=-1, end=1), "starts before time 0"),
        (_changed(3, operation=7), "operation 7: unknown"),
        (_changed(3, operation=0), r"0: found 2 times, expected once\n .* 1: missing"),
        (BlockingSolution.from_starts(CROSSING, [0, 3, 0, 2]), "are there together"),
    ):
        with pytest.raises(InvalidSolutionError, match=message):
            wrong.validate(CROSSING)
    down = BlockingInstance.from_shop(CROSSING.shop, [[], [(0, 1)]])
    with pytest.raises(InvalidSolutionError, match="enters machine 1, which is down from 0 to 1"):
        SWAPPED.validate(down)


def is_valid(instance: BlockingInstance, solution: BlockingSolution) -> bool:
    """The definition, pair by pair and move by move, of a schedule with every operation once."""
    rows = sorted(solution.rows())
    durations = instance.durations.tolist()
    for row, duration in zip(rows, durations, strict=True):
        down = {t for first, last in instance.shutdowns[row.machine] for t in range(first, last)}
        if row.start < 0 or row.start in down or row.leave < row.end:
            return False
        if row.end != end_by_counting(down, instance.on_down, row.start, duration):
            return False
    for a in rows:
        following = [b.start for b in rows if (b.job, b.operation) == (a.job, a.operation + 1)]
        if a.leave != (following or [a.end])[0]:
            return False
        for b in rows:
            if a is not b and a.machine == b.machine and a.start < b.leave and b.start < a.leave:
                return False
    return instance.swap or moves_one_by_one(rows)


def end_by_counting(down: set[int], on_down: str, start: int, duration: int) -> int:
    """When an operation has been processed for its duration."""
    done, time = 0, start
    while done < duration:
        if on_down == "hold" or time not in down:
            done += 1
        elif on_down == "restart":
            done = 0
        time += 1
    return time


def moves_one_by_one(rows: list[Row]) -> bool:
    """Whether in each moment its moves have an order in which every machine entered is empty."""
    on: dict[int, int | None] = {}  # machine of each job that is in the shop
    for moment in sorted({row.start for row in rows} | {row.leave for row in rows}):
        moves: dict[int, int | None] = {row.job: None for row in rows if row.leave == moment}
        moves |= {row.job: row.machine for row in rows if row.start == moment}
        if not any(possible(on, moves, order) for order in permutations(moves)):
            return False
        on |= moves
    return True


def possible(
    on: dict[int, int | None], moves: dict[int, int | None], order: tuple[int, ...]
) -> bool:
    """Whether no job enters a machine that another one is still on."""
    on = dict(on)
    for job in order:
        held = {machine for other, machine in on.items() if other != job and machine is not None}
        if moves[job] in held:
            return False
        on[job] = moves[job]
    return True


@st.composite
def schedules(draw: st.DrawFn) -> tuple[BlockingInstance, BlockingSolution]:
    """Of up to three jobs, each going on without regard to the others."""
    instance = draw(instances(jobs=3))
    starts: list[int] = []
    for first, last in pairwise(instance.job_offsets.tolist()):
        time = draw(st.integers(-1, 12))
        for op in range(first, last):
            starts.append(time)
            shutdowns = instance.shutdowns[instance.machines[op]]
            end = processing_end(shutdowns, instance.on_down, time, int(instance.durations[op]))
            time = end + draw(st.sampled_from((0, 0, 1, 4, -1)))
    return instance, BlockingSolution.from_starts(instance, starts)


@given(schedules())
def test_it_accepts_what_the_definition_accepts(
    drawn: tuple[BlockingInstance, BlockingSolution],
) -> None:
    instance, solution = drawn
    assert accepts(instance, solution) == is_valid(instance, solution)
