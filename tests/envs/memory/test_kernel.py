"""The game against hand-made examples, its rules in plain Python, and properties of any program."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.baselines.memory.rules import RulePolicy
from makespan.baselines.random import RandomPolicy
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.memory import kernel
from makespan.envs.memory.examples import (
    CAPACITY,
    COMPUTE_BOUND,
    EXAMPLES,
    FRAGMENTATION,
    REUSE,
    SUPPLY,
)
from makespan.envs.memory.family import make_env
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.image import OccupancyImage
from makespan.envs.memory.instance import BANDWIDTHS, MemoryInstance
from makespan.envs.memory.kernel import LOOKAHEAD_FEATURES, PLACEMENTS
from makespan.envs.memory.problem import MemoryProblem
from makespan.envs.memory.solution import MemoryPlan
from makespan.tests.memory_reference import Game, every_episode

quick = settings(max_examples=40)


@st.composite
def instances(draw: st.DrawFn, largest_size: int = 6) -> MemoryInstance:
    """Programs of a few instructions; buffers are read and written again and again."""
    buffers = draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(1, largest_size), min_size=buffers, max_size=buffers))
    columns: list[tuple[int, bool]] = []
    counts = []
    for _ in range(draw(st.integers(1, 6))):
        reads = draw(st.sets(st.integers(0, buffers - 1), max_size=2))
        writes = draw(st.sets(st.integers(0, buffers - 1), max_size=1))
        columns += [(k, False) for k in sorted(reads)] + [(k, True) for k in sorted(writes)]
        counts.append(len(reads) + len(writes))
    if not columns:
        columns, counts[-1] = [(0, False)], 1
    index = np.array([k for k, _ in columns], dtype=np.int32)
    size = np.array(sizes, dtype=np.int64)
    moved = [draw(st.integers(0, sizes[k])) if draw(st.booleans()) else sizes[k] for k in index]
    return MemoryInstance(
        name="drawn",
        sizes=size,
        outputs=np.array(draw(st.lists(st.booleans(), min_size=buffers, max_size=buffers))),
        access_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        buffers=index,
        writes=np.array([write for _, write in columns]),
        access_bytes=np.array(moved, dtype=np.int64),
        compute=np.array([draw(st.integers(0, 9)) for _ in counts], dtype=np.int64),
        capacity=draw(st.integers(0, 14)),
        slow_bandwidth=1.0,
        fast_read_bandwidth=draw(st.sampled_from([1.0, 4.0, float("inf")])),
        fast_write_bandwidth=draw(st.sampled_from([1.0, 4.0, float("inf")])),
        copy_bandwidth=draw(st.sampled_from([0.5, 1.0, float("inf")])),
    )


def sample(count: int, **options: Any) -> list[MemoryInstance]:
    generator = MemoryGenerator(**{"instructions": (3, 25), **options})
    return [generator.sample(np.random.default_rng([3, seed])) for seed in range(count)]


# ---------------------------------------------------------------- worked examples


@pytest.mark.parametrize(
    ("example", "all_slow", "all_fast", "optimum"),
    [
        (CAPACITY, 14, 0, 6),
        (SUPPLY, 16, 10, 10),
        (COMPUTE_BOUND, 21, 19, 19),
        (REUSE, 20, 8, 11),
        (FRAGMENTATION, 16, 0, 2),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_best_of_all_action_strings_of_the_examples(
    example: MemoryInstance, all_slow: int, all_fast: int, optimum: int, placement: str
) -> None:
    assert (example.all_slow, example.all_fast) == (all_slow, all_fast)
    problem = MemoryProblem.for_instances([example], placement=placement)
    episodes = every_episode(problem, example)
    assert episodes.best == optimum
    np.testing.assert_allclose(episodes.returns * all_slow, all_slow - episodes.objectives)
    for plan, objective in zip(episodes.plans, episodes.objectives, strict=True):
        plan.validate(example)
        assert plan.objective(example) == objective


@pytest.mark.parametrize(
    ("example", "actions", "rewards"),
    [
        # keep A: its write saves 4, its read 4
        (CAPACITY, [1, 0, 0, 1], [4, 0, 0, 4]),
        (SUPPLY, [2, 2, 2], [1, 2, 3]),
        # the read of A is dropped, so A would have to be evicted: nothing is gained by its write
        (COMPUTE_BOUND, [1, 0, 1, 1], [0, -4, 0, 2]),
        (REUSE, [2, 1, 1, 0], [3, 3, 3, 0]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_rewards_of_the_examples(
    example: MemoryInstance, actions: list[int], rewards: list[int]
) -> None:
    env = make_env(instance=example, placement="lowest")
    env.reset()
    found = [env.step(action)[1] * example.all_slow for action in actions]
    assert found == pytest.approx(rewards)


def test_with_free_offsets_the_fragmentation_example_costs_nothing() -> None:
    """B at offset 4 leaves 0 to 4 for C; the game's rules put B lower."""
    plan = MemoryPlan(np.full(6, 1), np.full(6, -1), np.array([0, 4, 0, 0, 0, 4]))
    plan.validate(FRAGMENTATION)
    assert plan.objective(FRAGMENTATION) == 0


def test_without_a_copy_window_the_static_supply_is_optimistic() -> None:
    """The plan makes instructions 1 and 3 faster, so the third copy comes too late."""
    plan = MemoryPlan(np.full(3, 2), np.array([-1, 0, 1]), np.array([0, 2, 5]))
    plan.validate(SUPPLY)
    assert plan.latency(SUPPLY, "static") == 10
    # W1 takes all of instructions 1 and 2 (1 + 2), W2 needs 4 and finds 1 in instruction 3
    assert plan.latency(SUPPLY, "dynamic") == 13


# ---------------------------------------------------------------- against the rules in plain Python


@given(instance=instances(), seed=st.integers(0, 99))
@settings(max_examples=150)
def test_it_does_what_the_plain_python_twin_does(instance: MemoryInstance, seed: int) -> None:
    """Legal candidates, features, places, starts and latency of all states of a random game."""
    env = make_env(instance=instance, placement="lowest")
    observation, info = env.reset()
    game, rng = Game(instance), np.random.default_rng(seed)
    for _ in range(instance.num_accesses):
        options = game.options()
        assert np.flatnonzero(info["action_mask"]).tolist() == [o.action for o in options]
        for option in options:
            assert_named(
                observation["candidates"][option.action],
                kernel.CANDIDATE_FEATURES,
                game.features(option),
            )
        assert_named(observation["globals"], kernel.GLOBAL_FEATURES, game.whole())
        before, option = game.cost(), options[rng.integers(len(options))]
        game.take(option)
        observation, reward, terminated, _, info = env.step(option.action)
        assert reward * max(instance.all_slow, 1) == pytest.approx(before - game.cost())
    assert terminated
    plan = env.solution()
    assert isinstance(plan, MemoryPlan)
    plan.validate(instance)
    assert plan.offsets.tolist() == [option.offset for option in game.chosen]
    assert plan.starts.tolist() == [option.start for option in game.chosen]


def assert_named(found: Any, names: tuple[str, ...], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert found[names.index(name)] == pytest.approx(float(value), rel=1e-4, abs=1e-4), name


# ---------------------------------------------------------------- properties of any game


@given(
    instance=instances(),
    seed=st.integers(0, 99),
    copy_model=st.sampled_from(["static", "dynamic"]),
    placement=st.sampled_from(PLACEMENTS),
    strict=st.sampled_from(["no", "yes"]),
    copy_start=st.sampled_from(["latest", "choice"]),
)
@settings(max_examples=200)
def test_any_game_of_any_program(
    instance: MemoryInstance, seed: int, copy_model: str, **options: str
) -> None:
    """Pieces never overlap, copy time is never overdrawn (the validator), rewards telescope."""
    instance = replace(instance, copy_model=copy_model)
    env = make_env(instance=instance, **options)
    observation, info = env.reset()
    rng = np.random.default_rng(seed)
    total, terminated = 0.0, False
    while not terminated:
        assert observation in env.observation_space
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        observation, reward, terminated, _, info = env.step(action)
        total += float(reward)
    plan = env.solution()
    assert isinstance(plan, MemoryPlan)
    plan.validate(instance)
    assert plan.objective(instance) == info["objective"] >= info["lower_bound"]
    slow = max(instance.all_slow, 1)
    assert total * slow == pytest.approx(instance.all_slow - info["objective"])
    if options["strict"] == "yes":
        assert not plan.evictions(instance)
        if copy_model == "static":
            assert info["objective"] <= instance.all_slow


@given(instance=instances())
@quick
def test_without_fast_memory_everything_is_slow(instance: MemoryInstance) -> None:
    instance = replace(instance, capacity=0)
    env = make_env(instance=instance)
    _, info = env.reset()
    for _ in range(instance.num_accesses):
        assert info["action_mask"].tolist() == [1, 0, 0]
        *_, info = env.step(0)
    assert info["objective"] == instance.all_slow


@given(instance=instances())
@quick
def test_with_fast_memory_and_copy_time_enough_everything_is_fast(
    instance: MemoryInstance,
) -> None:
    outputs = np.zeros_like(instance.outputs)
    instance = replace(instance, capacity=10**6, copy_bandwidth=float("inf"), outputs=outputs)
    policy = RulePolicy("greedy")
    (plan,) = rollout(
        MemoryProblem.for_instances([instance]), [instance], policy, np.random.default_rng(0)
    )
    assert plan.objective(instance) == instance.all_fast


def scaled(instance: MemoryInstance, factor: int) -> MemoryInstance:
    """The same in other units of memory: sizes, capacity and bandwidths times ``factor``."""
    bandwidths = {f"{name}_bandwidth" for name in BANDWIDTHS}
    fields = {"sizes", "access_bytes", "capacity", "alignment", *bandwidths}
    return replace(instance, **{field: factor * getattr(instance, field) for field in fields})


@given(instance=instances(), seed=st.integers(0, 9))
@quick
def test_units_of_memory_change_nothing(instance: MemoryInstance, seed: int) -> None:
    """Sizes, capacity and bandwidths in half bytes: the same observations, the same latency."""
    one, two = make_env(instance=instance), make_env(instance=scaled(instance, 2))
    (first, info), (second, _) = one.reset(), two.reset()
    rng, terminated = np.random.default_rng(seed), False
    while not terminated:
        for key, array in first.items():
            np.testing.assert_allclose(second[key], array, rtol=1e-5)
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        first, reward, terminated, _, info = one.step(action)
        second, other, *_ = two.step(action)
        assert other == reward


def test_the_numbering_of_buffers_does_not_matter_to_the_optimum() -> None:
    for example in EXAMPLES.values():
        order = np.arange(example.num_buffers)[::-1]
        renamed = replace(
            example,
            sizes=example.sizes[order],
            outputs=example.outputs[order],
            buffers=order[example.buffers].astype(np.int32),
        )
        problem = MemoryProblem.for_instances([example], placement="lowest")
        assert every_episode(problem, renamed).best == every_episode(problem, example).best


# ---------------------------------------------------------------- options


def test_strict_goes_back_and_keeps_the_buffer_in_slow_memory() -> None:
    """Two writes to fast memory, the second over the first: reading it is a dead end."""
    instance = replace(CAPACITY, capacity=4)
    env = make_env(instance=instance, strict="yes", placement="lowest")
    _, info = env.reset()
    rewards = []
    for action in (1, 1, 1):  # A, then B over A, B read
        _, reward, _, _, info = env.step(action)
        rewards.append(reward * instance.all_slow)
    # the read of A: not in place, not in slow memory, no eviction: A's write is dropped again
    assert info["action_mask"][:2].tolist() == [1, 0]
    _, reward, terminated, _, info = env.step(0)
    assert terminated
    plan = env.solution()
    assert isinstance(plan, MemoryPlan)
    assert plan.actions.tolist() == [0, 1, 1, 0]
    assert sum(rewards) + reward * instance.all_slow == 14 - 8 == 14 - info["objective"]


def test_copies_can_start_earlier() -> None:
    """A copy that fits into one instruction, or starts two or six instructions before that."""
    names = {"tensors": [{"name": "w", "size": 3}], "capacity": 3, "bandwidth": {"slow": 1}}
    idle = [{"compute": 5} for _ in range(7)]
    program = {"kind": "memory-mapping", "version": 1, **names}
    program["bandwidth"] = {"slow": 1, "copy": 1}
    program["instructions"] = [*idle, {"compute": 0, "reads": ["w"]}]
    env = make_env(instance=MemoryInstance.from_dict(program), copy_start="choice")
    starts = []
    for action in (2, 3, 4):
        _, info = env.reset()
        assert info["action_mask"].tolist() == [1, 0, 1, 1, 1]
        env.step(action)
        plan = env.solution()
        assert isinstance(plan, MemoryPlan)
        plan.validate(MemoryInstance.from_dict(program))
        starts.append(int(plan.starts[0]))
    assert starts == [5, 3, -1]


def test_extreme_ratios_stay_within_the_space() -> None:
    """A few bytes are read of huge buffers, whose copies and evictions take ages."""

    def few(name: str) -> dict[str, Any]:
        return {"tensor": name, "bytes": 1}

    program = {
        "kind": "memory-mapping",
        "version": 1,
        "capacity": 10**12,
        "bandwidth": {"slow": 1.0, "copy": 1e-3},
        "tensors": [{"name": name, "size": 10**11} for name in "ABC"],
        "instructions": [
            {"compute": 0, "reads": [few("C")], "writes": [few("A")]},
            {"compute": 1, "writes": [few("B")]},
            {"compute": 1, "reads": [few(name) for name in "ABC"]},
        ],
    }
    for copy_model in ("static", "dynamic"):
        instance = replace(MemoryInstance.from_dict(program), copy_model=copy_model)
        env = make_env(instance=instance, lookahead="greedy-full", illegal_action="raise")
        for choice in (0, -1):  # all in slow memory; the last that is legal
            observation, info = env.reset()
            done = False
            while not done:
                assert env.observation_space.contains(observation)
                action = np.flatnonzero(info["action_mask"])[choice]
                observation, _, done, _, info = env.step(action)
            assert env.observation_space.contains(observation)


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
def test_the_occupancy_image() -> None:
    """E1: A lies in the four bytes from instruction 0 to its read at 3."""
    env = OccupancyImage(make_env(instance=CAPACITY), (4, 3))
    observation, _ = env.reset()
    assert observation["image"].tolist() == [[[1, 1, 0]] * 4, [[0, 0, 0]] * 4]  # before: blocked
    for action in (1, 0):  # A is written to fast memory, B to slow
        observation, *_ = env.step(action)
    blocked, kept = observation["image"]  # decides at instruction 2; A is used at 3
    assert blocked.tolist() == [[1, 0, 0]] * 4  # instructions 0, 1, 2
    assert kept.tolist() == [[1, 1, 0]] * 4  # 2, 3, 4
    check_env(OccupancyImage(make_env(instance=REUSE), (8, 16)), skip_render_check=True)
    with pytest.raises(UsageError, match="image: found"):
        OccupancyImage(make_env(instance=REUSE), (0, 4))


def test_lookahead_reports_the_latency_of_the_trials() -> None:
    """The last read of A: kept, the program takes 6; dropped, 14: an eviction and a slow read."""
    env = make_env(instance=CAPACITY, lookahead="greedy")
    env.reset()
    for action in (1, 0, 0):
        observation, *_, info = env.step(action)
    first = env.problem.spec.candidate_features.index("lookahead")
    assert env.problem.spec.candidate_features[first:] == LOOKAHEAD_FEATURES
    mean = CAPACITY.all_slow / CAPACITY.num_instructions
    assert info["action_mask"].tolist() == [1, 1, 0]
    np.testing.assert_allclose(
        observation["candidates"][:2, first:], [[8 / mean, 0, 1], [0, -8 / mean, 1]], rtol=1e-6
    )
    assert not observation["candidates"][2, first:].any()


def test_the_pilot_is_no_worse_than_its_rule() -> None:
    programs = sample(12, instructions=(10, 40))
    rng = np.random.default_rng(0)
    latencies = {}
    for rule in ("rule", "pilot", "all-slow"):
        policy = RulePolicy(rule)
        problem = MemoryProblem.for_instances(programs, **policy.requires)
        plans = rollout(problem, programs, policy, rng)
        ratios = [p.objective(i) / i.all_slow for p, i in zip(plans, programs, strict=True)]
        latencies[rule] = float(np.mean(ratios))
    assert latencies["pilot"] < latencies["rule"] < latencies["all-slow"] == 1


@pytest.mark.parametrize("copy_model", ["static", "dynamic"])
@pytest.mark.parametrize("options", [{}, {"copy_start": "choice"}, {"strict": "yes"}], ids=str)
def test_the_nodes_that_a_decision_changes_are_all_refreshed(
    copy_model: str, options: dict[str, str]
) -> None:
    rng = np.random.default_rng(0)
    for sampled in sample(6):
        instance = replace(sampled, copy_model=copy_model)
        problem = MemoryProblem.for_instances([instance], **options)
        state, observation = problem.allocate(1), problem.spec.allocate(1)
        problem.load(state, observation, 0, instance)
        rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
        while not terminated[0]:
            action = rng.choice(np.flatnonzero(observation.action_mask[0]))
            problem.step(state, observation, np.array([action]), rewards, terminated)
            refreshed = observation.node_state.copy()
            kernel._observe_all(state, observation, 0)
            np.testing.assert_array_equal(refreshed, observation.node_state)


def test_what_is_played_from_marks_is_the_game() -> None:
    rng = np.random.default_rng(0)
    for program in sample(6, instructions=(20, 60)):
        problem = MemoryProblem.for_instances([program])
        state, observation = problem.allocate(1), problem.spec.allocate(1)
        problem.load(state, observation, 0, program)
        wishes = np.full(program.num_accesses, -1, dtype=np.int8)
        before = kernel.decode(state, 0, wishes, 0)
        best = kernel.improve(state, 0, wishes, 300, 0, rng)
        assert best == kernel.decode(state, 0, wishes, 0) <= before


# ---------------------------------------------------------------- batches and sizes


@pytest.mark.parametrize("copy_model", ["static", "dynamic"])
def test_programs_of_all_sizes_in_one_batch_are_as_one_by_one(copy_model: str) -> None:
    programs = sample(70, copy_model=copy_model)  # enough rows for threads
    rng = np.random.default_rng(0)
    policy = RulePolicy("rule")
    together = rollout(MemoryProblem.for_instances(programs), programs, policy, rng)
    for program, plan in zip(programs, together, strict=True):
        alone = rollout(MemoryProblem.for_instances([program]), [program], policy, rng)
        assert [plan] == alone


def test_ten_thousand_accesses() -> None:
    (program,) = sample(1, instructions=3000, structure="training")
    assert program.num_accesses > 9000
    problem = MemoryProblem.for_instances([program])
    (plan,) = rollout(problem, [program], RandomPolicy(), np.random.default_rng(0))
    plan.validate(program)


def test_memory_grows_with_the_program() -> None:
    def size(count: int) -> int:
        problem = MemoryProblem(MemoryGenerator(count).largest)
        return sum(array.nbytes for array in (*problem.allocate(1), *problem.spec.allocate(1)))

    assert size(2000) < 2.02 * size(1000)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="placement mode 'wort'; did you mean worth"):
        make_env(instance=REUSE, placement="wort")
    with pytest.raises(UnknownNameError, match="copy model 'dynamik'; did you mean dynamic"):
        make_env(instance=REUSE, copy_model="dynamik")
    with pytest.raises(UsageError, match="structure: not with a fixed instance"):
        make_env(instance=REUSE, structure="unet")
    with pytest.raises(UsageError, match="found none, expected at least one"):
        MemoryProblem.for_instances([])
    small = MemoryProblem.for_instances([REUSE])
    with pytest.raises(InstanceError, match="fragmentation: 3 buffers, the problem was made for 2"):
        small.load(small.allocate(1), small.spec.allocate(1), 0, FRAGMENTATION)
