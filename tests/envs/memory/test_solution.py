"""The validator finds every kind of mistake, by itself."""

from dataclasses import replace

import numpy as np
import pytest

from makespan.baselines.random import RandomPolicy
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.core.rollout import rollout
from makespan.envs.memory.examples import CAPACITY, FRAGMENTATION, REUSE, SUPPLY
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.problem import MemoryProblem
from makespan.envs.memory.solution import COPY, DROP, NO_COPY, MemoryPlan

#: The optimum of ``REUSE``: W copied in time for instruction 1, A from 2 to 4, W at 5 from slow.
BEST = MemoryPlan(np.array([2, 1, 1, 0]), np.array([-1, -1, -1, -1]), np.array([0, 0, 0, -1]))


def violations(plan: MemoryPlan, instance=REUSE) -> str:
    with pytest.raises(InvalidSolutionError) as error:
        plan.validate(instance)
    return str(error.value)


def changed(**columns) -> MemoryPlan:
    """``BEST`` with entries {index: value} of columns replaced."""
    new = {name: getattr(BEST, name).copy() for name in ("actions", "starts", "offsets")}
    for name, entries in columns.items():
        for index, value in entries.items():
            new[name][index] = value
    return MemoryPlan(**new)


def test_the_optimum_is_valid_and_worth_11():
    BEST.validate(REUSE)
    assert BEST.objective(REUSE) == 11
    assert BEST.latency(REUSE, "dynamic") == 11


def test_all_slow_is_valid_for_every_instance():
    for instance in (CAPACITY, SUPPLY, REUSE, FRAGMENTATION):
        plan = MemoryPlan.all_slow(instance)
        plan.validate(instance)
        assert plan.objective(instance) == instance.all_slow


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (changed(actions={0: 3}), "found action 3, expected 0, 1 or 2"),
        (changed(actions={3: NO_COPY}, offsets={3: 0}), "buffer 1 .* and buffer 0 .* overlap"),
        (changed(actions={0: NO_COPY}), "not in fast memory since the access before"),
        (changed(actions={1: COPY}), "found a copy, expected one only for a read"),
        (changed(actions={2: COPY}, starts={2: 2}), "the content is only in fast memory"),
        (changed(starts={0: 1}), "copy after instruction 1, expected -1 to 0"),
        (changed(offsets={0: 1}), "found bytes 1 to 4, expected a multiple of 1 within 0 to 3"),
        (changed(offsets={3: 2}), "found offset 2, expected -1 for a drop"),
        (MemoryPlan(BEST.actions[:3], BEST.starts[:3], BEST.offsets[:3]), "found 3 decisions"),
        (
            changed(actions={3: COPY}, starts={3: 4}, offsets={3: 0}),
            "need 3, the instructions take",
        ),
    ],
)
def test_mistakes_are_found(plan, message):
    with pytest.raises(InvalidSolutionError, match=message):
        plan.validate(REUSE)


def test_a_buffer_may_not_move_between_accesses():
    wide = replace(REUSE, capacity=8)
    plan = changed(offsets={2: 4})
    assert "found at offset 4, expected 0 as at the access before" in violations(plan, wide)


def test_offsets_are_multiples_of_the_alignment():
    wide = replace(REUSE, capacity=16, alignment=4)
    assert wide.pieces.tolist() == [4, 4]
    assert "expected a multiple of 4" in violations(changed(offsets={1: 2, 2: 2}), wide)


def test_overdrawn_copy_time_names_the_interval():
    late = MemoryPlan(np.full(3, 2), np.array([-1, 1, 1]), np.array([0, 2, 5]))
    assert "instructions 2 to 2: the copies within need 3, the instructions take 2" in violations(
        late, SUPPLY
    )


def test_an_eviction_is_counted_where_the_read_is_dropped():
    """A is written to fast memory and read from slow: 4 to move it back, 4 to read it."""
    plan = MemoryPlan(np.array([1, 0, 0, 0]), np.full(4, -1), np.array([0, -1, -1, -1]))
    plan.validate(CAPACITY)
    assert plan.evictions(CAPACITY) == [(3, 4)]
    assert plan.objective(CAPACITY) == 14 - 4 + 4


def test_an_output_is_moved_back_at_the_end():
    outputs = np.array([True, False])
    instance = replace(CAPACITY, outputs=outputs)
    plan = MemoryPlan(np.array([1, 0, 0, 1]), np.full(4, -1), np.array([0, -1, -1, 0]))
    assert plan.evictions(instance) == [(3, 4)]
    assert plan.objective(instance) == 6 + 4


def test_random_mutants_of_valid_plans_are_refused_or_worth_what_they_say():
    """Any single change either breaks a constraint or gives another valid plan."""
    rng = np.random.default_rng(0)
    instance = MemoryGenerator((12, 20)).sample(rng)
    problem = MemoryProblem.for_instances([instance])
    (plan,) = rollout(problem, [instance], RandomPolicy(), rng)
    refused = 0
    for _ in range(200):
        columns = {name: getattr(plan, name).copy() for name in ("actions", "starts", "offsets")}
        name = ("actions", "starts", "offsets")[rng.integers(3)]
        i = rng.integers(instance.num_accesses)
        columns[name][i] += rng.choice([-1, 1])
        mutant = MemoryPlan(**columns)
        try:
            mutant.validate(instance)
        except InvalidSolutionError:
            refused += 1
        else:
            assert mutant.objective(instance) <= instance.all_slow + sum(
                time for _, time in mutant.evictions(instance)
            )
    assert refused > 80


def test_a_plan_survives_its_json_form_and_nonsense_does_not():
    assert MemoryPlan.from_dict(BEST.to_dict()) == BEST
    for data, message in [
        ([], "expected an object"),
        ({"kind": "x"}, "field 'kind': found 'x', expected memory-plan"),
        ({**BEST.to_dict(), "starts": [1.5]}, "column starts: found"),
        ({**BEST.to_dict(), "starts": []}, "lengths"),
    ]:
        with pytest.raises(InvalidSolutionError, match=message):
            MemoryPlan.from_dict(data)
    assert len({BEST, changed(), changed(actions={0: DROP})}) == 2
