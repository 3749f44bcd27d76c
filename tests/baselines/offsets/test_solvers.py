"""Greedy allocators, searches and CP-SAT: valid, repeatable, never below the optimum."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from makespan.baselines.offsets import SOLVERS, decode_kernel
from makespan.baselines.offsets.beam import (
    FIRST_WIDTH,
    IteratedBeam,
    _Best,
    _Search,
    draw_ranking,
)
from makespan.baselines.offsets.exact import CpSat
from makespan.baselines.offsets.greedy import (
    ORDERS,
    Greedy,
    allocate,
    best_greedy,
    buffers_of,
    place_in_order,
)
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
from makespan.tests.interrupt import ctrl_c_after
from makespan.tests.offsets_reference import instances, optimum

quick = settings(max_examples=25)

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
    assert not found or found[-1] == objective
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


@pytest.mark.parametrize("name", ["local-search", "iterated-beam", "cp-sat"])
def test_improvements_are_objectives_and_not_peaks(name: str) -> None:
    small = sample("cuts", 40)
    loose = OffsetInstance.from_columns(
        small.lower, small.upper, small.nbytes, capacity=2 * small.max_load
    )
    result = solve(SHORT[name], loose, 5)
    assert [value for _, value in result.details["improvements"]] == [2 * small.max_load]


def test_a_beam_that_is_never_full_is_not_widened() -> None:
    """The optimum is above the bound, so only time ends the search."""
    instance = OffsetInstance.from_columns([0] * 3, [1] * 3, [3, 3, 2], alignment=[4, 4, 1])
    result = solve(IteratedBeam(max_width=2**60), instance)
    assert not result.optimal
    assert result.solution.peak(instance) == optimum(instance)
    assert result.details["width"] == FIRST_WIDTH


def test_the_width_of_beams_is_limited_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makespan.baselines.offsets.beam.MOST_ENTRIES", 12 * 150)
    result = solve(IteratedBeam(max_width=16), sample("cuts", 150, seed=2))
    assert result.details["width"] == 12


def test_a_fixed_offset_out_of_the_reach_of_targets_ends_the_beam() -> None:
    """Without the bound on what lies above fixed buffers, no target would be attainable."""
    instance = OffsetInstance.from_columns([0, 0], [2, 2], [2, 6], offset=[5, -1])
    best = _Best(instance, math.inf)
    best.bound = 8
    _Search(instance, best, np.random.default_rng(0)).run(FIRST_WIDTH)
    assert best.peak == 13
    assert not best.improve(best.offsets, 13, draw_ranking(np.random.default_rng(0)))


def test_moves_alone_do_not_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = sample("cuts", 40)
    expected = solve(LocalSearch(max_moves=5000), instance).solution
    monkeypatch.setattr("makespan.baselines.offsets.local_search.LONGEST_RUN_S", 1e-9)
    assert solve(LocalSearch(max_moves=5000), instance).solution == expected


def test_the_first_run_keeps_to_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that goes on by a second a look, one order takes too long for more moves."""
    seconds = itertools.count()
    monkeypatch.setattr(
        "makespan.baselines.offsets.local_search.time.perf_counter", lambda: float(next(seconds))
    )
    assert solve(LocalSearch(), sample("cuts", 40), 8).details["moves"] < 10


@pytest.mark.parametrize("seed", [156, 288])
def test_the_lowest_peak_is_kept_even_if_its_order_is_refused(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more bytes above the target a lower peak may cost more: climbing goes on from before."""
    rng = np.random.default_rng(seed)
    peaks: list[int] = []
    lower, life, size = rng.integers(0, 20, 14), rng.integers(1, 20, 14), rng.integers(1, 3000, 14)
    instance = OffsetInstance.from_columns(lower, lower + life, size)
    order = rng.permutation(14).astype(np.int32)
    offsets = place_in_order(instance, order)
    peak, target = int((offsets + size).max()), int(0.7 * lower_bound(instance))
    cost = decode_kernel._cost

    def recorded(*arguments: Any) -> tuple[int, float]:
        peaks.append(cost(*arguments)[0])
        found: tuple[int, float] = cost(*arguments)
        return found

    monkeypatch.setattr(decode_kernel, "_cost", recorded)
    buffers, placement = buffers_of(instance), allocate(14)
    best = decode_kernel.anneal.py_func(
        buffers, placement, order, offsets, 30, 1.0, 0.1, target, peak, True,
        np.random.default_rng(seed),
    )  # fmt: skip
    assert best == min(peaks) == (offsets + size).max() < peak


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
    with ctrl_c_after(1.0):
        result = solve(solver, instance, 120)
    assert result.details["interrupted"]
    assert result.seconds < 60
