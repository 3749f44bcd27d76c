"""The validator finds every kind of mistake, by itself."""

from dataclasses import replace

import numpy as np
import pytest

from makespan.baselines.random import RandomPolicy
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.core.rollout import rollout
from makespan.envs.memory.examples import CAPACITY, FRAGMENTATION, REUSE, SUPPLY
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.problem import MemoryProblem
from makespan.envs.memory.solution import COPY, DROP, NO_COPY, MemoryPlan
from makespan.tests.memory_reference import Game, Option

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


def passes(plan: MemoryPlan, instance: MemoryInstance) -> bool:
    try:
        plan.validate(instance)
    except InvalidSolutionError:
        return False
    return True


def is_valid(plan: MemoryPlan, instance: MemoryInstance) -> bool:
    """By the definition: byte by byte, and over all intervals of instructions."""
    game = Game(instance)
    columns = (plan.actions.tolist(), plan.starts.tolist(), plan.offsets.tolist())
    for access, (action, start, offset) in enumerate(zip(*columns, strict=True)):
        t, before = int(instance.instructions[access]), int(instance.previous[access])
        then = int(instance.instructions[before]) if before >= 0 else -1
        write, place = bool(instance.writes[access]), game.place(access)
        stays = place is not None and (not write or then == t)
        first = then + 1 if stays else t
        if action == DROP:
            fits = offset == -1
        elif action == NO_COPY:
            fits = offset == place if stays else write
        elif action == COPY:
            fits = not write and game.in_slow(access) and then <= start < t
            first = start + 1
        else:
            return False
        if action != DROP:
            size = int(instance.pieces[instance.buffers[access]])
            fits = fits and offset >= 0 and offset % instance.alignment == 0
            fits = fits and game.free(offset, size, first, t)
        if not fits:
            return False
        game.take(Option(action, offset, start, first, 0))
    return game.feasible(game.copies)


def mutant(plan: MemoryPlan, instance: MemoryInstance, rng: np.random.Generator) -> MemoryPlan:
    """One access is served otherwise, or one number of it is a little off."""
    columns = {name: getattr(plan, name).copy() for name in ("actions", "starts", "offsets")}
    access = rng.integers(instance.num_accesses)
    if rng.random() < 0.5:
        columns[str(rng.choice(list(columns)))][access] += rng.choice([-1, 1])
    else:
        action = rng.integers(3)
        columns["actions"][access] = action
        columns["starts"][access] = rng.integers(-1, instance.instructions[access] + 1)
        columns["offsets"][access] = -1 if action == DROP else rng.integers(instance.capacity)
    return MemoryPlan(**columns)


def shrunk(instance: MemoryInstance, capacity: int = 16) -> MemoryInstance:
    """The same program for a fast memory of a few bytes."""
    unit = instance.capacity / capacity

    def in_units(values):
        return np.ceil(values / unit).astype(np.int64)

    return replace(
        instance,
        sizes=in_units(instance.sizes),
        access_bytes=in_units(instance.access_bytes),
        compute=in_units(instance.compute),
        capacity=capacity,
    )


@pytest.mark.parametrize("alignment", [1, 2])
def test_the_validator_agrees_with_the_definition_on_mutants_of_valid_plans(alignment):
    verdicts = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        instance = replace(shrunk(MemoryGenerator((8, 14)).sample(rng)), alignment=alignment)
        problem = MemoryProblem.for_instances([instance])
        (plan,) = rollout(problem, [instance], RandomPolicy(), rng)
        for _ in range(40):
            changed = mutant(plan, instance, rng)
            verdicts.append(passes(changed, instance))
            assert verdicts[-1] == is_valid(changed, instance)
    assert 100 < sum(verdicts) < 300


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
