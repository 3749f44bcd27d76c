"""The simulator: examples by hand, properties, and a slow independent simulator."""

import dataclasses
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from makespan.baselines.random import RandomPolicy
from makespan.baselines.routing.exact import BruteForce
from makespan.baselines.routing.rules import RandomChoices
from makespan.envs.core.rollout import rollout
from makespan.envs.routing import kernel
from makespan.envs.routing.examples import ALONE, EIGHT, example, simple_fleet
from makespan.envs.routing.generator import RoutingGenerator
from makespan.envs.routing.instance import DECODE, PREFILL, RoutingInstance
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.replay import replay
from makespan.envs.routing.solution import RoutingSolution
from makespan.tests.routing_features import Sight
from makespan.tests.routing_reference import random_cluster, simulate

seeds = st.integers(0, 2**32 - 1)


def run(instance: RoutingInstance, actions: list[int], queue: str = "fcfs") -> RoutingSolution:
    """The solution of given actions, which is validated."""
    problem = RoutingProblem.for_instances([instance], queue)
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    for action in actions:
        assert observation.action_mask[0, action]
        problem.step(state, observation, np.array([action]), rewards, terminated)
    assert terminated[0]
    solution = problem.solution(state, 0)
    solution.validate(instance)
    return solution


def at_random(instance: RoutingInstance, seed: int, queue: str = "fcfs") -> RoutingSolution:
    problem = RoutingProblem.for_instances([instance], queue)
    rng = np.random.default_rng(seed)
    return rollout(problem, [instance], RandomPolicy(), rng)[0]  # type: ignore[return-value]


# ---------------------------------------------------------------- by hand


def test_a_request_alone() -> None:
    """10 ms + 0.05 ms a prompt token + 0.04 ms a decode: 15.0 ms, then two iterations of 10.04."""
    solution = run(ALONE, [1])
    np.testing.assert_allclose(solution.first_token, [0.015])
    np.testing.assert_allclose(solution.end, [0.03508])


def test_prompts_are_cut_to_the_token_budget() -> None:
    """Twelve decode; a prompt of 1200 under a budget of 512 takes chunks of 500, 500 and 200."""
    small = [(0.0, 1, 50)] * 12
    instance = example("sarathi", [*small, (0.02, 1200, 1)], kv_blocks=400)
    detail = replay(instance, run(instance, [1] * 13).decisions, detail=True)
    chunks = [(it.prefill, it.decodes) for it in detail.iterations if it.prefill]
    assert chunks == [(12, 0), (500, 12), (500, 12), (200, 12)]


def test_the_engine_decodes_all_together() -> None:
    """Two requests at once: prefill of both 10 + 20 * 0.05 = 11 ms, then 10.08 ms each token."""
    solution = run(example("two", [(0.0, 10, 2), (0.0, 10, 3)]), [1, 1])
    np.testing.assert_allclose(solution.first_token, [0.011, 0.011])
    np.testing.assert_allclose(solution.end, [0.02108, 0.03112])


def test_admission_keeps_the_watermark() -> None:
    """Ten blocks, one to keep free: two prompts of five blocks do not run together."""
    requests = [(0.0, 70, 2), (0.0, 70, 2)]
    together = run(example("free", requests, kv_blocks=10, watermark=0.0), [1, 1])
    one_by_one = run(example("kept", requests, kv_blocks=10, watermark=0.1), [1, 1])
    assert together.first_token[0] == together.first_token[1]
    assert one_by_one.first_token[1] > one_by_one.end[0]


def test_the_newest_is_preempted_and_recomputed() -> None:
    """Five blocks of 16. Both prompts of 32 fill four; after 16 + 1 tokens each needs a third.

    At the first decode each needs a block, and there is one: the second request is preempted, with
    one token generated. It comes back when the first has left, and its 33 tokens are prefilled.
    """
    instance = example("tight", [(0.0, 32, 10), (0.0, 32, 2)], kv_blocks=5, watermark=0.0)
    solution = run(instance, [1, 1])
    np.testing.assert_array_equal(solution.preemptions, [0, 1])
    prefill, decode, again = 10 + 64 * 0.05, 10.04, 10 + 33 * 0.05
    np.testing.assert_allclose(solution.first_token * 1e3, [prefill, prefill])
    np.testing.assert_allclose(
        solution.end * 1e3, [prefill + 9 * decode] * 2 + np.array([0, again])
    )


def test_prefixes_are_computed_once() -> None:
    """Blocks 7 and 8 of 16 tokens are shared; the last prompt token is always computed."""
    instance = example(
        "shared",
        [(0.0, 40, 1), (1.0, 40, 1), (2.0, 32, 1)],
        prefixes=[[7, 8], [7, 8], [7, 8]],
        prefix_cache=True,
        prefix_tokens=16,
    )
    solution = run(instance, [1, 1, 1])
    np.testing.assert_array_equal(solution.cached, [0, 32, 16])
    times = (solution.end - instance.arrival) * 1e3
    np.testing.assert_allclose(times, [10 + 40 * 0.05, 10 + 8 * 0.05, 10 + 16 * 0.05])


def test_the_least_recently_used_prefix_is_evicted() -> None:
    """Six blocks of 16; prompts A, B, A, C of three blocks each, two of them shared.

    C needs a block more than is free: of B, which was used before A, the second block goes, since
    nothing can be found behind a missing first one. So A is found whole, then half of B.
    """
    a, b, c = [1, 2], [3, 4], [5, 6]
    requests = [(float(time), 40, 1) for time in range(6)]
    instance = example(
        "lru",
        requests,
        prefixes=[a, b, a, c, a, b],
        prefix_cache=True,
        prefix_tokens=16,
        kv_blocks=6,
        watermark=0.0,
    )
    np.testing.assert_array_equal(run(instance, [1] * 6).cached, [0, 0, 32, 0, 32, 16])


def test_a_held_request_is_offered_again_and_not_for_ever() -> None:
    instance = example("held", [(0.0, 100, 3)], hold_s=0.5, max_holds=2)
    solution = run(instance, [0, 0, 1])
    assert solution.release[0] == 1.0
    np.testing.assert_allclose(solution.end, [1.03508])
    problem = RoutingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    for _ in range(2):
        problem.step(state, observation, np.array([0]), rewards, terminated)
    np.testing.assert_array_equal(observation.action_mask[0], [0, 1])


def test_holding_may_pay() -> None:
    """A short request that waits for a long prompt to be done is not slower for it."""
    requests = [(0.0, 512, 40), (0.0, 512, 40), (0.001, 500, 2)]
    instance = example("late", requests, replicas=2, hold_s=0.3, max_holds=3)
    at_once, later = run(instance, [1, 2, 1]), run(instance, [1, 2, 0, 0, 1])
    assert later.end[0] < at_once.end[0]


def test_moving_between_pools_takes_time() -> None:
    """Prefill 15 ms there, 100 tokens at 0.1 ms each to move, two decodes of 10.04 ms here."""
    instance = example(
        "pools", [(0.0, 100, 3)], replicas=2, roles=[PREFILL, DECODE], transfer_s=1e-4
    )
    solution = run(instance, [1, 2])
    assert (solution.replica[0], solution.decoder[0]) == (0, 1)
    np.testing.assert_allclose(solution.moved, [0.015])
    np.testing.assert_allclose(solution.end, [0.015 + 0.01 + 2 * 0.01004])


def test_a_decision_takes_its_delay() -> None:
    solution = run(dataclasses.replace(ALONE, delay_s=0.2), [1])
    np.testing.assert_allclose(solution.end, [0.23508])


def test_a_stale_router_sees_the_last_report() -> None:
    """Reports every second; the router adds what it has sent itself, but not what has ended."""
    instance = example("stale", [(0.0, 100, 3), (0.5, 100, 3), (1.5, 100, 3)], stale_s=1.0)
    problem = RoutingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    waiting = []
    for _ in range(3):
        waiting.append(state.figures[0, 0, kernel.V_WAITING])
        problem.step(state, observation, np.array([1]), np.zeros(1), np.zeros(1, dtype=np.bool_))
    assert waiting == [0, 1, 0]


# ---------------------------------------------------------------- orders of the queue


def order_of_service(instance: RoutingInstance, queue: str) -> list[int]:
    solution = run(instance, [1] * instance.num_requests, queue)
    return np.argsort(solution.first_token, kind="stable").tolist()


def one_at_a_time(requests: list[tuple[float, int, int]], **options: Any) -> RoutingInstance:
    return example("queue", requests, max_batch=1, token_budget=512, **options)


def test_shortest_first_lowers_the_mean() -> None:
    """d = (5, 1, 3), one at a time: FCFS serves 0, 1, 2; SJF the shorter of those that wait."""
    instance = one_at_a_time([(0.0, 1, 5), (0.0, 1, 1), (0.0, 1, 3)])
    assert order_of_service(instance, "fcfs") == [0, 1, 2]
    assert order_of_service(instance, "sjf") == [1, 2, 0]
    fcfs, sjf = (run(instance, [1] * 3, queue).objective(instance) for queue in ("fcfs", "sjf"))
    assert sjf < fcfs


def test_srpt_takes_the_place_of_a_longer_request() -> None:
    instance = one_at_a_time([(0.0, 1, 50), (0.05, 1, 2)])
    solution = run(instance, [1, 1], "srpt")
    np.testing.assert_array_equal(solution.preemptions, [1, 0])
    assert solution.end[1] < solution.end[0]


def test_long_prompts_skip_the_first_levels() -> None:
    """base 10 ms: levels of 10, 20, 40 ms; a prefill of 10 + 500 * 0.05 = 35 ms joins level 2."""
    instance = one_at_a_time([(0.0, 1, 30), (0.0, 500, 2), (0.0, 1, 2)])
    problem = RoutingProblem.for_instances([instance], "mlfq")
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    for _ in range(2):  # with the third decision everything would happen
        problem.step(state, observation, np.array([1]), np.zeros(1), np.zeros(1, dtype=np.bool_))
    assert state.level[0, 1] == 2
    solution = run(instance, [1, 1, 1], "mlfq")
    assert solution.end[2] < solution.end[0]  # the long response went down and gave way
    assert solution.preemptions[0] > 0


def test_vtc_serves_the_client_that_has_had_least() -> None:
    """Client 0 asks for 100 tokens, client 1 for 10: ten of the small ones go before the second."""
    requests = [(0.0, 100, 1), (0.0, 100, 1), *[(0.0, 10, 1)] * 12]
    instance = one_at_a_time(requests, client=[0, 0] + [1] * 12)
    order = order_of_service(instance, "vtc")
    # a response of one token counts 2: client 0 has 102 after its first, client 1 12 for each
    assert order[0] == 0
    assert order.index(1) == 1 + 9


def test_dlpm_prefers_what_is_cached() -> None:
    requests = [(0.0, 40, 1), (0.0, 40, 1), (0.0, 40, 1)]
    instance = one_at_a_time(
        requests, prefixes=[[1, 2], [8, 9], [1, 2]], prefix_cache=True, prefix_tokens=16
    )
    assert order_of_service(instance, "fcfs") == [0, 1, 2]
    assert order_of_service(instance, "dlpm") == [0, 2, 1]


def test_priority_goes_first() -> None:
    instance = one_at_a_time([(0.0, 1, 5), (0.0, 1, 5), (0.0, 1, 5)], priority=[0, 0, 1])
    assert order_of_service(instance, "fcfs") == [2, 0, 1]


# ---------------------------------------------------------------- against slow simulators


def test_two_hundred_random_clusters_agree_with_the_slow_simulator() -> None:
    preempted = cached = 0
    for seed in range(200):
        instance = random_cluster(np.random.default_rng(seed))
        solution = at_random(instance, seed)
        jobs = simulate(instance, solution)
        first = [job.emitted[0] for job in jobs]
        np.testing.assert_allclose(solution.first_token, first, rtol=1e-9, atol=1e-9)
        end = [job.emitted[-1] for job in jobs]
        np.testing.assert_allclose(solution.end, end, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(solution.preemptions, [job.evictions for job in jobs])
        np.testing.assert_array_equal(solution.cached, [job.found for job in jobs])
        preempted += int(solution.preemptions.sum())
        cached += int((solution.cached > 0).sum())
    assert preempted > 500
    assert cached > 300


@settings(max_examples=60)
@given(seed=seeds, queue=st.sampled_from(kernel.QUEUE_ORDERS), pools=st.booleans())
def test_every_order_and_pool_agrees_with_the_replay(seed: int, queue: str, pools: bool) -> None:
    rng = np.random.default_rng(seed)
    instance = random_cluster(rng, transfer_s=float(rng.choice([0, 1e-4])))
    if pools and instance.num_replicas > 1:
        role = rng.integers(0, 3, instance.num_replicas)
        role[0], role[-1] = PREFILL, DECODE
        instance = dataclasses.replace(instance, role=role)
    at_random(instance, seed, queue).validate(instance)


# ---------------------------------------------------------------- properties


@settings(max_examples=30)
@given(seed=seeds)
def test_memory_never_overflows_and_recomputed_work_is_charged(seed: int) -> None:
    """The slow simulator asserts conservation at every step; here the totals of the replay."""
    instance = random_cluster(np.random.default_rng(seed))
    solution = at_random(instance, seed)
    jobs = simulate(instance, solution)
    detail = replay(instance, solution.decisions, detail=True)
    assert all(it.used <= instance.kv_blocks[it.replica] for it in detail.iterations)
    processed = sum(it.prefill + it.decodes for it in detail.iterations)
    assert processed == sum(job.processed for job in jobs)
    needed = int((instance.prompt + instance.output - 1).sum())
    assert processed == needed + sum(job.recomputed - job.reused for job in jobs)


@settings(max_examples=20)
@given(seed=seeds)
@hypothesis.example(seed=37831)  # a mean budget of 31, and a prompt of a multiple of it
def test_permuting_replicas_permutes_results(seed: int) -> None:
    rng = np.random.default_rng(seed)
    instance = random_cluster(rng)
    order = rng.permutation(instance.num_replicas)
    shuffled = dataclasses.replace(
        instance,
        kinds=tuple(np.array(instance.kinds)[order].tolist()),
        **{
            field: getattr(instance, field)[order]
            for field in ("engine", "kv_blocks", "token_budget", "max_batch", "role")
        },
    )
    actions, views = _played(instance, seed, np.arange(instance.num_replicas))
    _, permuted_views = _played(shuffled, seed, np.argsort(order))
    first, second = run(instance, actions), run(shuffled, _renamed(actions, order))
    np.testing.assert_array_equal(first.end, second.end)
    np.testing.assert_array_equal(first.replica, order[second.replica])
    for one, other in zip(views, permuted_views, strict=True):
        np.testing.assert_allclose(one[1:][order], other[1:], rtol=1e-5, atol=1e-5)


def _renamed(actions: list[int], order: NDArray[np.int64]) -> list[int]:
    place = np.argsort(order)
    return [0 if action == 0 else 1 + int(place[action - 1]) for action in actions]


def _played(
    instance: RoutingInstance, seed: int, place: NDArray[np.int64]
) -> tuple[list[int], list[NDArray[np.float32]]]:
    """Random actions over replicas as ``place`` renames them, and the candidates seen."""
    problem = RoutingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    rng = np.random.default_rng(seed)
    actions, seen = [], []
    while not terminated[0]:
        seen.append(observation.candidates[0].copy())
        mask = observation.action_mask[0]
        named = np.concatenate([[0], 1 + place])
        legal = [a for a in range(len(mask)) if mask[named[a]]]
        action = int(named[rng.choice(legal)])
        actions.append(action)
        problem.step(state, observation, np.array([action]), rewards, terminated)
    return actions, seen


@settings(max_examples=20)
@given(seed=seeds)
def test_a_policy_sees_nothing_of_true_lengths(seed: int) -> None:
    """Until the first response ends, another true length changes no observation."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 12))
    requests = [(0.001 * i, int(rng.integers(1, 90)), 500) for i in range(count)]
    options = {"predicted": [60] * count, "max_tokens": 700}
    instance = example("hidden", requests, replicas=2, kv_blocks=2000, **options)
    longer = dataclasses.replace(instance, output=instance.output + rng.integers(1, 99, count))
    assert len(_played(instance, seed, np.arange(2))[1]) >= count
    for one, other in zip(
        _played(instance, seed, np.arange(2))[1],
        _played(longer, seed, np.arange(2))[1],
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=30)
@given(seed=seeds, pools=st.booleans())
def test_what_is_seen_is_what_is_said_beside_the_names(seed: int, pools: bool) -> None:
    rng = np.random.default_rng(seed)
    instance = random_cluster(rng)
    if pools:
        instance = with_pools(instance)
    problem = RoutingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    while not terminated[0]:
        sight = Sight(instance, state)
        assert_named(observation.globals[0], kernel.GLOBAL_FEATURES, sight.whole())
        assert_named(observation.candidates[0, 0], kernel.CANDIDATE_FEATURES, sight.hold())
        seen = sight.replicas()
        assert_named(
            observation.candidates[0, 1:].T,
            kernel.CANDIDATE_FEATURES,
            {name: np.asarray(values, dtype=float) for name, values in seen.items()},
        )
        action = rng.choice(np.flatnonzero(observation.action_mask[0]))
        problem.step(state, observation, np.array([action]), rewards, terminated)


def assert_named(found: NDArray[np.float32], names: tuple[str, ...], expected: Any) -> None:
    assert set(names) == set(expected)
    for name, value in zip(names, found, strict=True):
        bounded = np.clip(expected[name], -1e5, 1e5)
        np.testing.assert_allclose(value, bounded, rtol=1e-4, atol=1e-4, err_msg=name)


def returns(problem: RoutingProblem, instance: RoutingInstance, seed: int) -> list[float]:
    """Total reward and relative rise over the bound of two random episodes in the same row."""
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    found = []
    for _ in range(2):
        problem.load(state, observation, 0, instance)
        terminated[:] = False
        rng, total = np.random.default_rng(seed), 0.0
        while not terminated[0]:
            action = rng.choice(np.flatnonzero(observation.action_mask[0]))
            problem.step(state, observation, np.array([action]), rewards, terminated)
            total += float(rewards[0])
        figures = problem.metrics(state, 0)
        found.append((figures["objective"] - figures["lower_bound"]) / figures["lower_bound"])
        found.append(total)
    return found


@settings(max_examples=20)
@given(seed=seeds)
def test_unguided_rewards_sum_to_the_same(seed: int) -> None:
    instance = random_cluster(np.random.default_rng(seed))
    for reward in ("integral", "projected"):
        problem = RoutingProblem.for_instances([instance], reward=reward)
        rise, total, _, again = returns(problem, instance, seed)
        assert total == pytest.approx(-rise, abs=1e-9)
        assert again == pytest.approx(total, abs=1e-9)


@settings(max_examples=20)
@given(seed=seeds)
def test_guidance_is_a_penalty_that_fades(seed: int) -> None:
    instance = random_cluster(np.random.default_rng(seed))
    aware = RoutingProblem.for_instances([instance], reward="workload-aware")
    rise, total, _, again = returns(aware, instance, seed)
    penalty = -rise - total
    assert -1e-9 <= penalty <= 2
    assert again == pytest.approx(total, abs=1e-9)
    guided = RoutingProblem.for_instances([instance], reward="workload-guided")
    _, first, _, second = returns(guided, instance, seed)
    assert -rise - first == pytest.approx(penalty, abs=1e-9)
    assert -rise - second == pytest.approx(penalty * np.exp(-kernel.FADING), abs=1e-9)
    guided.first_episode = 3
    _, fourth, _, _ = returns(guided, instance, seed)
    assert -rise - fourth == pytest.approx(penalty * np.exp(-3 * kernel.FADING), abs=1e-9)


@settings(max_examples=20)
@given(seed=seeds)
def test_guidance_is_charged_once_a_request(seed: int) -> None:
    """With two pools the second decision about a request costs what it costs without guidance."""
    instance = with_pools(random_cluster(np.random.default_rng(seed)))
    problems = [
        RoutingProblem.for_instances([instance], reward=reward)
        for reward in ("integral", "workload-aware")
    ]
    states = [(problem.allocate(1), problem.spec.allocate(1)) for problem in problems]
    rewards, terminated = np.zeros((2, 1)), np.zeros(1, dtype=np.bool_)
    for problem, (state, observation) in zip(problems, states, strict=True):
        problem.load(state, observation, 0, instance)
    rng, penalty = np.random.default_rng(seed), 0.0
    while not terminated[0]:
        moving = states[0][0].router[0, kernel.MOVING]
        action = rng.choice(np.flatnonzero(states[0][1].action_mask[0]))
        for k, problem in enumerate(problems):
            problem.step(*states[k], np.array([action]), rewards[k], terminated)
        lost = float(rewards[0, 0] - rewards[1, 0])
        assert not moving or lost == pytest.approx(0, abs=1e-12)
        penalty += lost
    assert penalty <= 2


def with_pools(instance: RoutingInstance) -> RoutingInstance:
    """The same on twice the replicas, every other of which decodes only."""
    fields = ("engine", "kv_blocks", "token_budget", "max_batch")
    doubled: dict[str, Any] = {
        field: np.repeat(getattr(instance, field), 2, axis=0) for field in fields
    }
    role = np.tile([PREFILL, DECODE], instance.num_replicas)
    kinds = tuple(np.repeat(instance.kinds, 2).tolist())
    return dataclasses.replace(instance, **doubled, role=role, kinds=kinds)


def test_true_outstanding_tokens_are_counted_as_the_predicted_ones() -> None:
    """Of a prefill replica the first token only: 30 + 1, whatever the response."""
    instance = example(
        "pools", [(0.0, 30, 50), (0.0, 30, 9)], replicas=2, roles=[PREFILL, DECODE],
        predicted=[50, 50], max_holds=0,
    )  # fmt: skip
    problem = RoutingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    seen = []
    for action in (1, 1, 2, 2):
        seen.append(state.figures[0, :, [kernel.V_TOKENS, kernel.V_TRUE]].tolist())
        problem.step(
            state, observation, np.array([action]), np.zeros(1), np.zeros(1, dtype=np.bool_)
        )
    # both prompts end at once; then the first is at the decode replica, one of its tokens there
    assert seen == [[[0, 0]] * 2, [[31, 0]] * 2, [[0, 0]] * 2, [[0, 49]] * 2]


def test_guidance_by_hand() -> None:
    """Engine 10 ms + 10 ms a prompt token; replica 0 decodes one request, replica 1 is idle.

    The prompt of 20 takes 0.2 s, below 0.5 s, so that only its delay of the decoding one counts:
    mixing 0.5 (1 - 0.2) against 0.5 (1 - 0).
    """
    engine = np.array([[0.01, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0]] * 2)
    fleet = simple_fleet(2)._replace(engine=engine)
    instance = RoutingInstance.build([0.0, 1.0], [20, 20], [200, 5], fleet)
    problem = RoutingProblem.for_instances([instance], reward="workload-aware")
    plain = RoutingProblem.for_instances([instance])
    for second, penalty in ((1, 0.1), (2, 0.0)):
        sums = []
        for one in (problem, plain):
            state, observation = one.allocate(1), one.spec.allocate(1)
            one.load(state, observation, 0, instance)
            rewards, terminated, total = np.zeros(1), np.zeros(1, dtype=np.bool_), 0.0
            for action in (1, second):
                one.step(state, observation, np.array([action]), rewards, terminated)
                total += rewards[0]
            sums.append(total)
        assert sums[1] - sums[0] == pytest.approx(penalty / 2)  # over two requests


@pytest.mark.parametrize("queue", kernel.QUEUE_ORDERS)
def test_requests_to_come_are_not_seen(queue: str) -> None:
    """Clusters whose requests are equal up to one look alike until that one arrives."""
    compared = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        one = random_cluster(rng)
        first = one.num_requests // 2
        other = _other_requests(one, first, rng)
        problem = RoutingProblem.for_instances([one, other], queue)
        state, observation = problem.allocate(2), problem.spec.allocate(2)
        for row, instance in enumerate((one, other)):
            problem.load(state, observation, row, instance)
        rewards, terminated = np.zeros(2), np.zeros(2, dtype=np.bool_)
        while (state.clock[:, kernel.NOW] < one.arrival[first]).all():
            for name, array in observation._asdict().items():
                np.testing.assert_array_equal(array[0], array[1], err_msg=name)
            action = rng.choice(np.flatnonzero(observation.action_mask[0]))
            problem.step(state, observation, np.full(2, action), rewards, terminated)
            compared += 1
    assert compared > 50


def _other_requests(instance: RoutingInstance, first: int, rng: Any) -> RoutingInstance:
    """From request ``first`` on others arrive, after it at other times."""
    count = instance.num_requests
    order = np.append(np.arange(first), first + rng.permutation(count - first))
    lengths = np.diff(instance.prefix_offsets)[order]
    starts = instance.prefix_offsets[:-1][order]
    last = instance.arrival[first]
    columns = ("prompt", "output", "predicted", "max_tokens", "client", "priority")
    return dataclasses.replace(
        instance,
        arrival=np.maximum(instance.arrival, 2 * instance.arrival - last),
        prefix_offsets=np.append(0, np.cumsum(lengths)),
        prefixes=np.concatenate(
            [instance.prefixes[a : a + n] for a, n in zip(starts, lengths, strict=True)]
        ),
        **{column: getattr(instance, column)[order] for column in columns},
    )


@settings(max_examples=20)
@given(seed=seeds)
def test_following_a_solution_gives_it_again(seed: int) -> None:
    instance = random_cluster(np.random.default_rng(seed))
    wanted = at_random(instance, seed)
    problem = RoutingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    while not terminated[0]:
        action = problem.follow(state, 0, wanted)
        assert observation.action_mask[0, action]
        problem.step(state, observation, np.array([action]), rewards, terminated)
    np.testing.assert_array_equal(problem.solution(state, 0).end, wanted.end)


@pytest.mark.parametrize("late", [{}, {"stale_s": 5.0}, {"delay_s": 0.5}])
def test_with_true_predictions_the_projection_is_close(late: dict[str, float]) -> None:
    """Predicted latency against what happens when nothing else arrives; from old reports, too."""
    generator = RoutingGenerator(
        num_requests=40, num_replicas=1, model="llama-2-7b", workload="azure-conversation",
        memory=(1.0, 1.0), predictor="exact", error=(0.0, 0.0), max_holds=0, **late,
    )  # fmt: skip
    errors = []
    for seed in range(5):
        instance = generator.sample(np.random.default_rng(seed))
        problem = RoutingProblem.for_instances([instance])
        state, observation = problem.allocate(1), problem.spec.allocate(1)
        problem.load(state, observation, 0, instance)
        for _ in range(instance.num_requests):
            now, own = state.clock[0, kernel.NOW], state.figures[0, 0, kernel.V_OWN]
            last = now + own
            problem.step(
                state, observation, np.array([1]), np.zeros(1), np.zeros(1, dtype=np.bool_)
            )
        end = state.end[0, instance.num_requests - 1]
        errors.append(abs(last - end) / (end - now))
    assert np.mean(errors) < 0.05


def test_all_ways_of_eight_requests() -> None:
    """The best of all is what brute force finds; the mean is what random routing gives."""
    means = [
        run(EIGHT, [1 + (way >> i & 1) for i in range(8)]).objective(EIGHT) for way in range(256)
    ]
    best = BruteForce().solve(EIGHT, None, np.random.default_rng(0)).solution
    assert best.objective(EIGHT) == min(means) < np.mean(means)
    problem = RoutingProblem.for_instances([EIGHT])
    played = rollout(problem, [EIGHT] * 2000, RandomChoices(1), np.random.default_rng(0))
    drawn = [solution.objective(EIGHT) for solution in played]
    assert np.mean(drawn) == pytest.approx(np.mean(means), abs=3 * np.std(means) / 2000**0.5)


@pytest.mark.parametrize("output", [50, 200])
def test_the_mask_rests_on_the_limit_of_the_response(output: int) -> None:
    """300 tokens and at most 250: too many for 25 blocks of 16 tokens, whatever comes."""
    fleet = simple_fleet(2)._replace(kv_blocks=np.array([25, 60]))
    instance = RoutingInstance.build([0.0], [300], [output], fleet, max_tokens=[250])
    problem = RoutingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    np.testing.assert_array_equal(observation.action_mask[0], [1, 0, 1])
