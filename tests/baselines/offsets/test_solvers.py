"""Greedy allocators, searches and CP-SAT: valid, repeatable, never below the optimum."""

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from makespan.baselines.offsets import SOLVERS
from makespan.baselines.offsets.beam import FIRST_WIDTH, IteratedBeam
from makespan.baselines.offsets.exact import CpSat
from makespan.baselines.offsets.greedy import ORDERS, Greedy, best_greedy
from makespan.baselines.offsets.local_search import LocalSearch
from makespan.baselines.offsets.rules import RulePolicy
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.core.solution import Result
from makespan.envs.offsets.bounds import lower_bound
from makespan.envs.offsets.examples import EXAMPLES, FRAGMENTED, OPTIMA
from makespan.envs.offsets.generator import OffsetGenerator
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.problem import OffsetProblem
from makespan.envs.offsets.solution import OffsetSolution
from makespan.tests.offsets_reference import instances, optimum

quick = settings(max_examples=25, deadline=None, derandomize=True)

#: Limited by work and not by time, so that results repeat.
SHORT: dict[str, Any] = {
    "greedy": Greedy(),
    "local-search": LocalSearch(max_moves=400),
    "hill-climbing": LocalSearch(climb=True, max_moves=400),
    "iterated-beam": IteratedBeam(max_width=16),
    "cp-sat": CpSat(workers=1),
}
every_solver = pytest.mark.parametrize("name", SHORT)
searches = pytest.mark.parametrize("name", [name for name in SHORT if name != "greedy"])


def sample(structure: Any, buffers: int, seed: int = 0) -> OffsetInstance:
    return OffsetGenerator(buffers, structure).sample(np.random.default_rng(seed))


def solve(
    solver: Any, instance: OffsetInstance, limit: float | None = None, seed: int = 0
) -> Result[OffsetSolution]:
    """Solve; checks all that holds for any result."""
    result: Result[OffsetSolution] = solver.solve(instance, limit, np.random.default_rng(seed))
    result.solution.validate(instance)
    objective = result.solution.objective(instance)
    assert result.lower_bound is not None
    assert lower_bound(instance) <= result.lower_bound <= objective
    assert not result.optimal or result.lower_bound == objective
    found = [value for _, value in result.details.get("improvements", [])]
    assert found == sorted(set(found), reverse=True)
    return result


def test_every_solver_is_tested() -> None:
    assert set(SHORT) == set(SOLVERS)


@searches
def test_the_examples_are_solved(name: str) -> None:
    for instance in EXAMPLES.values():
        result = solve(SHORT[name], instance, 5)
        assert result.solution.objective(instance) == OPTIMA[instance.name]


@quick
@given(instances(most=6, fixed=True))
def test_no_solver_is_below_the_optimum_and_cp_sat_attains_it(instance: OffsetInstance) -> None:
    best = optimum(instance)
    for name, solver in SHORT.items():
        peak = solve(solver, instance, 5).solution.peak(instance)
        assert peak >= best
        if name == "cp-sat":
            assert peak == best


@searches
@pytest.mark.parametrize("structure", ["cuts", "tiles"])
def test_searches_improve_on_greedy(name: str, structure: str) -> None:
    instance = sample(structure, 40)
    greedy = int((best_greedy(instance)[0] + instance.nbytes).max())
    assert greedy > lower_bound(instance)
    assert solve(SHORT[name], instance, 3).solution.peak(instance) < greedy


@pytest.mark.parametrize("name", ["local-search", "hill-climbing", "iterated-beam"])
def test_limited_by_work_equal_seeds_give_equal_results(name: str) -> None:
    instance = sample("cuts", 40)
    one, other = (solve(SHORT[name], instance, seed=3) for _ in range(2))
    assert one.solution == other.solution


@every_solver
def test_alignments_and_fixed_offsets_are_kept(name: str) -> None:
    base = sample("tiles", 20, seed=1)
    alignment = np.where(np.arange(20) % 3 == 0, 4096, 1)
    offset = np.full(20, -1)
    offset[[3, 9]] = 4096 * np.array([40, 1000])
    instance = OffsetInstance.from_columns(
        base.lower, base.upper, base.nbytes + 7, alignment=alignment, offset=offset
    )
    solve(SHORT[name], instance, 3)  # which validates


def test_a_capacity_ends_the_search() -> None:
    tight = sample("cuts", 40)
    greedy = int((best_greedy(tight)[0] + tight.nbytes).max())
    roomy = OffsetInstance.from_columns(tight.lower, tight.upper, tight.nbytes, capacity=greedy)
    for name in ("local-search", "iterated-beam", "cp-sat"):
        result = solve(SHORT[name], roomy, 60)
        assert result.optimal
        assert result.seconds < 30
        assert result.solution.fits(roomy)


def test_workers_search_side_by_side() -> None:
    instance = sample("cuts", 40)
    alone = solve(IteratedBeam(max_width=8), instance)
    together = solve(IteratedBeam(workers=2, max_width=8), instance)
    assert together.details["searches"] > alone.details["searches"]
    peaks = [peak for _, peak in together.details["improvements"]]
    assert together.solution.peak(instance) == peaks[-1] < peaks[0]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fit", ["first", "best"])
def test_greedy_is_the_rule_under_that_decode_mode(order: Any, fit: Any) -> None:
    for structure in ("cuts", "tiles", "layers"):
        instance = sample(structure, 50)
        problem = OffsetProblem.for_instances([instance], f"{fit}-fit")
        rng = np.random.default_rng(0)
        by_rule = rollout(problem, [instance], RulePolicy(order), rng)[0]
        greedy = solve(Greedy(order, fit), instance).solution
        assert isinstance(by_rule, OffsetSolution)
        assert greedy.peak(instance) == by_rule.peak(instance)


def test_ten_thousand_buffers_are_decoded() -> None:
    solve(Greedy(), sample("layers", 10_000))


def test_wrong_options_are_refused() -> None:
    for make, message in (
        (lambda: IteratedBeam(max_width=FIRST_WIDTH - 1), "max_width: found 7"),
        (lambda: IteratedBeam(workers=0), "workers: found 0"),
        (lambda: LocalSearch(max_moves=0), "max_moves: found 0"),
        (lambda: CpSat(workers=0), "workers: found 0"),
        (lambda: CpSat(time_limit_s=-1), "time_limit_s: found -1"),
    ):
        with pytest.raises(UsageError, match=message):
            make()
    with pytest.raises(UnknownNameError, match="did you mean size"):
        Greedy("siz")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="did you mean best"):
        Greedy(fit="bst")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "solver",
    [LocalSearch(), IteratedBeam(), IteratedBeam(workers=2), CpSat()],
    ids=["local-search", "iterated-beam", "iterated-beam-2", "cp-sat"],
)
def test_ctrl_c_keeps_the_best_so_far(solver: Any) -> None:
    instance = sample("cuts", 150, seed=2)
    solve(solver, FRAGMENTED, 1)  # nothing is compiled or imported once the timer runs
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        result = solve(solver, instance, 120)
    finally:
        timer.cancel()
    assert result.details["interrupted"]
    assert result.seconds < 60
