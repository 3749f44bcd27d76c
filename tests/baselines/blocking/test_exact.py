"""CP-SAT for the blocking job shop: worked examples, shutdowns known beforehand, the rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.baselines.blocking import POLICIES
from makespan.baselines.blocking.exact import CpSat, pieces
from makespan.baselines.blocking.rules import RULES, Pilot
from makespan.baselines.registry import make_solver
from makespan.envs.blocking.examples import CROSSING, CROSSING_WITHOUT_SWAP
from makespan.envs.blocking.family import make_family
from makespan.envs.blocking.generator import BlockingGenerator
from makespan.envs.blocking.problem import BlockingProblem
from makespan.envs.blocking.solution import processing_end
from makespan.envs.core.errors import UsageError
from makespan.envs.core.rollout import rollout


def test_worked_examples() -> None:
    for instance, optimum in ((CROSSING, 7), (CROSSING_WITHOUT_SWAP, 11)):
        result = CpSat(workers=1).solve(instance, 10.0, np.random.default_rng(0))
        result.solution.validate(instance)
        assert (result.solution.makespan, result.optimal) == (optimum, True)


@settings(max_examples=100)
@given(
    times=st.lists(st.integers(0, 60), max_size=8, unique=True).map(sorted),
    duration=st.integers(1, 20),
    mode=st.sampled_from(["resume", "restart", "hold"]),
)
def test_pieces_are_the_end_of_an_operation(times: list[int], duration: int, mode: str) -> None:
    shutdowns = list(zip(times[::2], times[1::2], strict=False))
    found: dict[int, int] = {}
    for piece in pieces(shutdowns, mode, duration, horizon=70):
        for start in range(piece.first, piece.last + 1):
            assert start not in found
            found[start] = piece.value + (start if piece.rises else 0)
    up = [t for t in range(71) if not any(start <= t < end for start, end in shutdowns)]
    assert found == {t: processing_end(shutdowns, mode, t, duration) for t in up}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("spt:lookahead=varied", "unknown option 'lookahead'; known: samples"),
        ("pilot:lookahead=none", "option lookahead: found 'none', expected dispatch or varied"),
    ],
)
def test_only_the_pilot_takes_a_lookahead(spec: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        make_solver(make_family(), spec)


def test_perfect_information_is_no_worse_than_any_rule() -> None:
    instances = [
        BlockingGenerator(4, 3, shutdowns=(0.2, 0.4), swap=swap, on_down=mode).sample(
            np.random.default_rng(seed)
        )
        for seed, (swap, mode) in enumerate(
            (swap, mode) for swap in (True, False) for mode in ("resume", "restart", "hold")
        )
    ]
    results = [CpSat(workers=1).solve(i, 20.0, np.random.default_rng(0)) for i in instances]
    for instance, result in zip(instances, results, strict=True):
        result.solution.validate(instance)
        assert result.optimal
    policies = [POLICIES[name]() for name in (*RULES, "pilot", "pretrained")]
    for policy in (*policies, Pilot(lookahead="varied")):
        problem = BlockingProblem.for_instances(instances, **policy.requires)
        solutions = rollout(problem, instances, policy, np.random.default_rng(0))
        for instance, solution, result in zip(instances, solutions, results, strict=True):
            solution.validate(instance)
            assert result.solution.makespan <= solution.objective(instance)
