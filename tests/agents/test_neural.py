"""A network as a policy: each row sees its own graph."""

import numpy as np
import pytest
import torch

from makespan.agents.neural import NeuralPolicy, distinct_graphs
from makespan.envs.core.rollout import rollout
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.models.policy import ENCODERS, GraphPolicy, PolicyConfig

#: The same nodes and edges, loads and shortest durations; each operation has 3 and 5 exchanged.
TWINS = [
    JobShopInstance.from_routes([[[(0, 3), (1, 5)]], [[(0, 5), (1, 3)]]]),
    JobShopInstance.from_routes([[[(0, 5), (1, 3)]], [[(0, 3), (1, 5)]]]),
]


def test_graphs_are_told_apart_by_their_edges_too() -> None:
    first, second = TWINS
    problem = JobShopProblem.for_instances(TWINS)
    state, observation = problem.allocate(4), problem.spec.allocate(4)
    for row, instance in enumerate((first, second, first, second)):
        problem.load(state, observation, row, instance)
    np.testing.assert_array_equal(observation.nodes[0], observation.nodes[1])
    np.testing.assert_array_equal(observation.edges[0], observation.edges[1])
    rows, graph_of_row = distinct_graphs(observation)
    assert rows.tolist() == [0, 1]
    assert graph_of_row.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_batch_of_instances_is_solved_as_one_by_one(encoder: str) -> None:
    rng = np.random.default_rng(0)
    instances = [
        *(JobShopGenerator((2, 5), (2, 4)).sample(rng) for _ in range(4)),
        *(FlexibleJobShopGenerator((2, 4), (2, 3)).sample(rng) for _ in range(4)),
    ]
    problem = JobShopProblem.for_instances(instances)
    torch.manual_seed(1)
    network = GraphPolicy(problem.spec, PolicyConfig(encoder, hidden=16)).eval()
    weights = [network.actor[-1].weight]
    if encoder != "none":
        weights.append(network.node_input.weight)
    for weight in weights:
        torch.nn.init.normal_(weight)  # type: ignore[arg-type]
    policy = NeuralPolicy("network", network)
    together = rollout(problem, instances, policy, rng)
    for instance, solution in zip(instances, together, strict=True):
        solution.validate(instance)
        alone = JobShopProblem.for_instances([instance])
        assert rollout(alone, [instance], policy, rng) == [solution]


def test_another_temperature_keeps_the_network_and_the_name() -> None:
    problem = JobShopProblem.for_instances(TWINS)
    policy = NeuralPolicy("network", GraphPolicy(problem.spec, PolicyConfig("none", hidden=16)))
    other = policy.with_temperature(2.0)
    assert (other.name, float(other.temperature)) == ("network", 2.0)
    assert other.network is policy.network
