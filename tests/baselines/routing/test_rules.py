"""Every rule against a choice worked out by hand from its definition."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from makespan.baselines.routing.rules import RULES, RandomChoices, RulePolicy, View
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.rollout import rollout
from makespan.envs.routing.examples import example
from makespan.envs.routing.instance import DECODE, PREFILL, Fleet, RoutingInstance
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.solution import RoutingSolution


def seen(**columns: Any) -> View:
    """One decision over as many replicas as the columns are long; what is not given is zero."""
    replicas = max(np.size(column) for column in columns.values())
    values: dict[str, NDArray[Any]] = {}
    for name in View._fields:
        width = 1 if name in ("prompt", "client", "released") else replicas
        values[name] = np.zeros((1, width))
    values |= {"legal": np.ones((1, replicas), dtype=np.bool_), "blocks": np.full((1, replicas), 1)}
    values |= {"prompt": np.full((1, 1), 100.0)}
    for name, column in columns.items():
        values[name] = np.array([column] if np.ndim(column) else [[column]])
    served = values["served"]
    return View(**{**values, "served": lambda: served})


def chosen(rule: str, **columns: Any) -> int:
    return int(RULES[rule](seen(**columns))[0].argmin())


def test_round_robin_takes_turns() -> None:
    turns = [chosen("round-robin", released=sent, running=[0, 0]) for sent in range(5)]
    assert turns == [0, 1, 0, 1, 0]


def test_round_robin_takes_equal_turns_among_the_legal() -> None:
    turns = []
    for sent in range(5):
        view = seen(released=sent, legal=[False, True, False, True])
        turns.append(int(np.where(view.legal, RULES["round-robin"](view), np.inf).argmin()))
    assert turns == [1, 3, 1, 3, 1]


def test_jsq_counts_requests_and_vllm_weighs_those_that_wait() -> None:
    state = {"running": [3, 6], "waiting": [1, 0]}
    assert chosen("jsq", **state) == 0  # 4 against 6
    assert chosen("vllm", **state) == 1  # 4 * 1 + 3 = 7 against 6


def test_least_outstanding_tokens() -> None:
    assert chosen("least-tokens", tokens=[900, 400]) == 1
    assert chosen("least-tokens-true", true_tokens=[100, 400]) == 0
    assert chosen("least-prompts", prompts=[900, 400]) == 1


def test_memory_rules() -> None:
    state = {"used": [0.5, 0.2], "blocks": [1000, 100], "need": [10, 10]}
    assert chosen("min-memory", **state) == 1
    assert chosen("max-capacity", **state) == 0  # 500 blocks free against 80
    assert chosen("bin-packing", **state) == 0  # the fuller one that fits
    assert chosen("bin-packing", **{**state, "need": [600, 50]}) == 1


def test_cache_aware_balances_only_when_far_apart() -> None:
    cold = {"overlap": [40, 0], "cached": [7, 3]}
    assert chosen("cache-aware", running=[70, 2], **cold) == 1  # 68 > 64 and 70 > 3
    assert chosen("cache-aware", running=[60, 2], **cold) == 0  # match 0.4 > 0.3
    assert chosen("cache-aware", running=[60, 2], overlap=[25, 0], cached=[7, 3]) == 1  # tree


def test_aibrix_takes_the_least_loaded_that_match() -> None:
    assert chosen("aibrix", running=[5, 3, 0], overlap=[40, 40, 0]) == 1
    assert chosen("aibrix", running=[12, 3, 0], overlap=[40, 40, 0]) == 2  # 12 - 0 > 8


def test_dynamo_weighs_overlap_memory_and_queue() -> None:
    """2 * 0.5 - 0.9 - 1 = -0.9 against 0 - 0.1 - 0 = -0.1."""
    assert chosen("dynamo", overlap=[50, 0], used=[0.9, 0.1], waiting=[1, 0]) == 1


def test_d2lpm_follows_the_prefix_while_the_client_has_deficit_there() -> None:
    """Quantum 2048: after 2100 tokens at replica 0 its deficit is used up, until all are."""
    state = {"overlap": [50, 0], "running": [3, 0]}
    assert chosen("d2lpm", served=[0, 0], **state) == 0
    assert chosen("d2lpm", served=[2100, 0], **state) == 1
    assert chosen("d2lpm", served=[2100, 2048], **state) == 0  # refilled
    assert chosen("d2lpm", served=[0, 0], overlap=[0, 0], running=[3, 1]) == 1


def test_d2lpm_serves_clients_by_turns_in_the_simulator() -> None:
    """One client, equal prompts of 1000 and no shared prefix: no replica falls far behind."""
    instance = RoutingInstance.build(
        np.arange(12.0) * 0.01, [1000] * 12, [10] * 12, Fleet.of(2 * ["a100/llama-2-7b/1"])
    )
    problem = RoutingProblem.for_instances([instance])
    rng = np.random.default_rng(0)
    solution = rollout(problem, [instance], RulePolicy("d2lpm"), rng)[0]
    assert isinstance(solution, RoutingSolution)
    solution.validate(instance)
    sent = np.bincount(solution.replica, minlength=2)
    assert sent.tolist() == [6, 6]


def test_llm_d_weighs_three_two_two() -> None:
    """3 * 0.5 + 2 * 0 + 2 * 0.5 = 2.5 against 0 + 2 * 1 + 2 * 0.2 = 2.4."""
    assert chosen("llm-d", overlap=[50, 0], waiting=[4, 0], used=[0.5, 0.8]) == 0
    assert chosen("llm-d", overlap=[45, 0], waiting=[4, 0], used=[0.5, 0.8]) == 1


def test_llumnix_freeness_counts_the_queue() -> None:
    """(100 - 60) / 2 = 20 without and (100 - 60 - 60) / 2 = -10 with the queued demand of 60."""
    view = seen(used=[0.6, 0.6], blocks=[100, 100], running=[2, 2], head=[0, 60])
    np.testing.assert_allclose(-RULES["llumnix"](view), [[20, -10]])


def test_lmetric_multiplies_prompt_tokens_and_batch() -> None:
    """(100 tokens, 8 requests) against (600, 1): 800 against 600."""
    state = {"pending": [60, 560], "running": [7, 0], "prompt": 40}
    np.testing.assert_allclose(RULES["lmetric"](seen(**state)), [[800, 600]])


def test_sessions_stay_and_a_replica_that_leaves_moves_its_own_alone() -> None:
    clients = range(3000)
    before = np.array([chosen("session", client=c, running=[0, 0, 0, 0]) for c in clients])
    after = np.array([chosen("session", client=c, running=[0, 0, 0]) for c in clients])
    np.testing.assert_array_equal(after[before < 3], before[before < 3])
    np.testing.assert_allclose(np.bincount(before) / 3000, 0.25, atol=0.03)


# ---------------------------------------------------------------- in the simulator


def routed(instance: RoutingInstance, policy: Any, seed: int = 0) -> RoutingSolution:
    problem = RoutingProblem.for_instances([instance])
    solution = rollout(problem, [instance], policy, np.random.default_rng(seed))[0]
    assert isinstance(solution, RoutingSolution)
    solution.validate(instance)
    return solution


def test_least_work_of_requests_that_come_together() -> None:
    """Tokens 10, 1, 1, 1 at once: least work sends them to 0, 1, 1, 1; round robin 0, 1, 0, 1."""
    requests = [(0.0, 8, 12), (0.0, 1, 1), (0.0, 1, 1), (0.0, 1, 1)]
    instance = example("work", requests, replicas=2)
    assert routed(instance, RulePolicy("least-tokens")).replica.tolist() == [0, 1, 1, 1]
    assert routed(instance, RulePolicy("round-robin")).replica.tolist() == [0, 1, 0, 1]


def test_round_robin_takes_turns_in_either_pool() -> None:
    """The second request needs no second replica: its only token comes with the prefill."""
    requests = [(0.1 * i, 20, 1 if i == 1 else 3) for i in range(6)]
    roles = [PREFILL, DECODE, PREFILL, DECODE]
    instance = example("pools", requests, replicas=4, roles=roles)
    solution = routed(instance, RulePolicy("round-robin"))
    assert solution.replica.tolist() == [0, 2, 0, 2, 0, 2]
    assert solution.decoder.tolist() == [1, -1, 3, 1, 3, 1]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_a_valid_solution(rule: str) -> None:
    requests = [(0.004 * i, 20 + 37 * i % 90, 3 + 11 * i % 40) for i in range(25)]
    instance = example(
        "all",
        requests,
        replicas=3,
        kv_blocks=20,
        client=[i % 4 for i in range(25)],
        prefixes=[[i % 3] if 20 + 37 * i % 90 >= 16 else [] for i in range(25)],
        prefix_cache=True,
        prefix_tokens=16,
    )
    solution = routed(instance, RulePolicy(rule))
    holds = solution.release - instance.arrival
    assert (holds > 0).any() == (rule == "central-queue")


def test_choices_of_all_replicas_are_jsq_and_of_one_are_random() -> None:
    requests = [(0.004 * i, 30, 20) for i in range(30)]
    instance = example("choices", requests, replicas=3)
    everything = routed(instance, RandomChoices(3))
    np.testing.assert_array_equal(everything.replica, routed(instance, RulePolicy("jsq")).replica)
    one, other = (routed(instance, RandomChoices(1), seed).replica for seed in (0, 1))
    assert (one != other).any()
    np.testing.assert_array_equal(one, routed(instance, RandomChoices(1), 0).replica)


def test_a_marginal_choice_spares_those_that_run() -> None:
    """A long prompt would stop eight that decode on replica 0; replica 1 is slower but empty."""
    requests = [(0.0, 10, 60)] * 8
    instance = example("spare", [*requests, (0.1, 512, 5)], replicas=2)
    solution = routed(instance, RulePolicy("marginal"))
    held_apart = np.bincount(solution.replica, minlength=2)
    assert held_apart.min() >= 4


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean marginal"):
        RulePolicy("margnal")


def test_two_choices_favour_the_less_loaded_by_their_chance() -> None:
    """Of four replicas: 3, 2, 1 and 0 of the six pairs have it as the one with fewest requests."""
    instance = RoutingInstance.build(
        [0.0] * 5, [100] * 5, [50] * 5, Fleet.of(4 * ["a100/llama-2-7b/1"]), max_holds=0
    )
    problem = RoutingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    for action in (4, 4, 4, 2):
        problem.step(state, observation, np.array([action]), np.zeros(1), np.zeros(1, dtype=bool))
    rows = np.arange(1)
    scores = RandomChoices(2).scores(problem, state, observation, rows)[0]
    assert np.exp(scores[1:] - scores[1]) == pytest.approx([1, 1 / 3, 2 / 3, 0])
    assert scores[0] == -np.inf
    everywhere = RandomChoices(1).scores(problem, state, observation, rows)[0, 1:]
    assert np.ptp(everywhere) == 0
