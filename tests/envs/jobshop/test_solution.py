from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.core.solution import Solution
from makespan.envs.jobshop.examples import FT06, FT06_OPTIMUM, WAITING_PAYS, WAITING_PAYS_OPTIMUM
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution
from makespan.tests.acceptance import accepts

#: Operation (0, 1) can choose machine 0 for 4 or machine 1 for 2; operation (1, 1) takes no time.
FLEXIBLE = JobShopInstance.from_routes([[(0, 3), [(0, 4), (1, 2)]], [(1, 1), (0, 0)]])


def columns(solution: JobShopSolution) -> dict[str, Any]:
    return {column: getattr(solution, column).copy() for column in solution.columns()}


def scheduled(*rows: tuple[int, int, int, int, int]) -> JobShopSolution:
    """A solution of rows (job, position, machine, start, end)."""
    return JobShopSolution(*np.array(rows, dtype=np.int64).reshape(-1, 5).T)


def violations(solution: JobShopSolution, instance: JobShopInstance) -> list[str]:
    with pytest.raises(InvalidSolutionError) as caught:
        solution.validate(instance)
    return caught.value.violations


def row_of(solution: JobShopSolution, job: int, position: int) -> int:
    return int(np.flatnonzero((solution.jobs == job) & (solution.positions == position))[0])


def test_the_published_schedule_of_ft06_is_valid_and_takes_55() -> None:
    FT06_OPTIMUM.validate(FT06)
    assert FT06_OPTIMUM.objective(FT06) == FT06_OPTIMUM.makespan == 55


def test_waiting_for_an_operation_gives_14() -> None:
    WAITING_PAYS_OPTIMUM.validate(WAITING_PAYS)
    assert WAITING_PAYS_OPTIMUM.makespan == 14


def test_it_keeps_the_contract_of_solutions() -> None:
    assert isinstance(FT06_OPTIMUM, Solution)


def test_columns_follow_from_a_machine_and_a_start_per_operation() -> None:
    solution = JobShopSolution.from_operations(FLEXIBLE, [0, 1, 1, 0], [0, 3, 0, 3])
    solution.validate(FLEXIBLE)
    assert solution.jobs.tolist() == [0, 0, 1, 1]
    assert solution.positions.tolist() == [0, 1, 0, 1]
    assert solution.ends.tolist() == [3, 5, 1, 3]
    assert solution.makespan == 5


@pytest.mark.parametrize(
    ("machines", "starts", "message"),
    [
        ([0, 1, 0, 0], [0, 3, 0, 3], "job 1, operation 0: found machine 0, which cannot"),
        ([0, 1, 1], [0, 3, 0], "found 3 machines and 3 starts, expected 4"),
        ([0, 1, 1, 0], [0, 3.5, 0, 3], "column starts: .*expected a vector of 64-bit integers"),
    ],
)
def test_columns_cannot_follow_from_what_does_not_fit(
    machines: list[int], starts: list[int], message: str
) -> None:
    with pytest.raises(InvalidSolutionError, match=message):
        JobShopSolution.from_operations(FLEXIBLE, machines, starts)


def test_the_order_of_rows_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(36)
    shuffled = JobShopSolution(**{k: v[order] for k, v in columns(FT06_OPTIMUM).items()})
    shuffled.validate(FT06)
    assert shuffled == FT06_OPTIMUM
    assert hash(shuffled) == hash(FT06_OPTIMUM)


def test_a_schedule_that_is_later_as_a_whole_is_valid() -> None:
    later = columns(FT06_OPTIMUM)
    later["starts"] += 7
    later["ends"] += 7
    solution = JobShopSolution(**later)
    solution.validate(FT06)
    assert solution.makespan == 62


# The validator kills mutants of the optimal schedule, and says what is wrong and nothing else.


def test_an_operation_before_time_zero() -> None:
    mutant = columns(FT06_OPTIMUM)
    mutant["starts"] -= 1
    mutant["ends"] -= 1
    assert violations(JobShopSolution(**mutant), FT06) == [
        "job 1, operation 0 (-1 to 7): starts before time 0",
        "job 2, operation 0 (-1 to 4): starts before time 0",
    ]


def test_an_operation_shifted_over_its_neighbours() -> None:
    row = row_of(FT06_OPTIMUM, 1, 0)  # machine 1, 0 to 8; then job 3 there, and machine 2 from 8 on
    mutant = columns(FT06_OPTIMUM)
    mutant["starts"][row] += 2
    mutant["ends"][row] += 2
    shifted = "job 1, operation 0 (2 to 10)"
    assert violations(JobShopSolution(**mutant), FT06) == [
        f"job 1, operation 1 (8 to 13): starts before its predecessor {shifted} has ended",
        f"machine 1: {shifted} and job 3, operation 0 (8 to 13) overlap",
    ]


def test_an_operation_inside_another_one() -> None:
    routes = [[(0, 9)], [(0, 2)]]
    instance = JobShopInstance.from_routes(routes)
    solution = JobShopSolution.from_operations(instance, [0, 0], [0, 3])
    expected = ["machine 0: job 0, operation 0 (0 to 9) and job 1, operation 0 (3 to 5) overlap"]
    assert violations(solution, instance) == expected


@pytest.mark.parametrize("column", ["starts", "ends"])
@pytest.mark.parametrize("change", [-1, 1])
def test_an_operation_of_another_length(column: str, change: int) -> None:
    mutant = columns(FT06_OPTIMUM)
    mutant[column][row_of(FT06_OPTIMUM, 3, 5)] += change
    found = violations(JobShopSolution(**mutant), FT06)
    assert any(
        s.startswith("job 3, operation 5") and s.endswith("expected 9 on machine 5") for s in found
    )


def test_an_operation_on_a_machine_that_cannot_process_it() -> None:
    mutant = columns(FT06_OPTIMUM)
    mutant["machines"][row_of(FT06_OPTIMUM, 4, 5)] = 2
    assert violations(JobShopSolution(**mutant), FT06) == [
        "job 4, operation 5 (52 to 53): found machine 2, expected one of [3]"
    ]


def test_an_operation_with_the_duration_of_another_alternative() -> None:
    solution = scheduled((0, 0, 0, 0, 3), (0, 1, 0, 3, 5), (1, 0, 1, 0, 1), (1, 1, 0, 3, 3))
    assert violations(solution, FLEXIBLE) == [
        "job 0, operation 1 (3 to 5): takes 2, expected 4 on machine 0"
    ]


def test_a_missing_operation() -> None:
    keep = np.arange(36) != row_of(FT06_OPTIMUM, 2, 3)
    mutant = JobShopSolution(**{k: v[keep] for k, v in columns(FT06_OPTIMUM).items()})
    assert violations(mutant, FT06) == ["job 2, operation 3: missing"]


def test_an_operation_done_twice() -> None:
    last = row_of(FT06_OPTIMUM, 0, 5)
    mutant = {k: np.append(v, v[last]) for k, v in columns(FT06_OPTIMUM).items()}
    mutant["starts"][-1], mutant["ends"][-1] = 55, 61
    assert violations(JobShopSolution(**mutant), FT06) == [
        "job 0, operation 5: found 2 times, expected once"
    ]


@pytest.mark.parametrize(("job", "position"), [(6, 0), (-1, 0), (0, 6), (0, -1)])
def test_an_operation_that_does_not_exist(job: int, position: int) -> None:
    row = {"jobs": job, "positions": position, "machines": 0, "starts": 90, "ends": 95}
    mutant = {k: np.append(v, row[k]) for k, v in columns(FT06_OPTIMUM).items()}
    assert violations(JobShopSolution(**mutant), FT06) == [
        f"job {job}, operation {position}: unknown, the instance has no such operation"
    ]


def test_an_empty_schedule_misses_everything() -> None:
    empty = scheduled()
    assert empty.makespan == 0
    assert len(violations(empty, FT06)) == 36


def test_times_that_wrap_around_are_not_accepted() -> None:
    instance = JobShopInstance.from_routes([[(0, 5)]])
    start = 2**63 - 3
    wrapped = scheduled((0, 0, 0, start, start + 5 - 2**64))
    assert "takes -18446744073709551611, expected 5" in violations(wrapped, instance)[0]


@pytest.mark.parametrize(("start", "valid"), [(0, True), (1, False), (2, False), (3, True)])
def test_an_operation_without_length_fits_beside_others_but_not_inside(
    start: int, valid: bool
) -> None:
    instance = JobShopInstance.from_routes([[(0, 3)], [(0, 0)], [(0, 2)]])
    solution = JobShopSolution.from_operations(instance, [0, 0, 0], [0, start, 3])
    if valid:
        solution.validate(instance)
    else:
        assert "overlap" in violations(solution, instance)[0]


def is_valid(instance: JobShopInstance, solution: JobShopSolution) -> bool:
    """The definition, pair by pair, of a schedule that has every operation once."""
    rows = sorted(solution.rows())
    for row in rows:
        operation = int(instance.job_offsets[row.job]) + row.operation
        first, last = instance.alternative_offsets[operation : operation + 2]
        allowed = zip(instance.machines[first:last], instance.durations[first:last], strict=True)
        if row.start < 0 or (row.machine, row.end - row.start) not in set(allowed):
            return False
    return all(
        (a.job != b.job or a.end <= b.start)
        and (a.machine != b.machine or a.end <= b.start or b.end <= a.start)
        for i, a in enumerate(rows)
        for b in rows[i + 1 :]
    )


@given(st.data())
def test_it_accepts_what_the_definition_accepts(data: st.DataObject) -> None:
    durations = st.integers(0, 2)
    routes = data.draw(
        st.lists(
            st.lists(
                st.dictionaries(st.integers(0, 1), durations, min_size=1).map(
                    lambda alternatives: list(alternatives.items())
                ),
                min_size=1,
                max_size=2,
            ),
            min_size=1,
            max_size=3,
        )
    )
    instance = JobShopInstance.from_routes(routes, num_machines=2)
    chosen = [data.draw(st.sampled_from(operation)) for route in routes for operation in route]
    starts = data.draw(st.lists(st.integers(-1, 6), min_size=len(chosen), max_size=len(chosen)))
    solution = JobShopSolution.from_operations(instance, [m for m, _ in chosen], starts)
    assert accepts(instance, solution) == is_valid(instance, solution)


def test_it_is_read_back_from_its_plain_data() -> None:
    assert JobShopSolution.from_dict(FT06_OPTIMUM.to_dict()) == FT06_OPTIMUM


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "job-shop"}, "'kind': found 'job-shop', expected 'job-shop-solution'"),
        ({"version": 9}, "'version': found 9, expected 1"),
        ({"operations": None}, "'operations': found None, expected a list"),
        ({"operations": [[0, 0, 0, 0, 1]]}, r"operations\[0\]: .*expected an object with job,"),
        (
            {"operations": [{"job": 0, "operation": 0, "machine": 0, "start": 0, "end": "9"}]},
            r"operations\[0\]: end: found '9', expected an integer",
        ),
        (
            {"operations": [{"job": 0, "operation": 0, "machine": 0, "start": 0, "end": 2**70}]},
            r"operations\[0\]: end: found 1180591620717411303424, expected an integer",
        ),
        ({"makespan": 54}, "'makespan': found 54, but the operations end at 55"),
    ],
)
def test_broken_plain_data_name_the_field(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSolutionError, match=message):
        JobShopSolution.from_dict({**FT06_OPTIMUM.to_dict(), **changed})


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_arbitrary_plain_data_are_refused(data: Any) -> None:
    for candidate in (data, {**FT06_OPTIMUM.to_dict(), "operations": data}):
        with pytest.raises(InvalidSolutionError):
            JobShopSolution.from_dict(candidate)


def test_the_table_has_a_line_per_operation_in_order() -> None:
    table = FT06_OPTIMUM.to_frame()
    assert table.columns.tolist() == ["job", "operation", "machine", "start", "end"]
    assert table.iloc[0].tolist() == [0, 0, 2, 5, 6]
    assert len(table) == 36


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(InvalidSolutionError, match="lengths"):
        JobShopSolution(**{**columns(FT06_OPTIMUM), "ends": np.arange(5)})
