"""The compiled actor scores as the network does."""

import numpy as np
import pytest
import torch

from makespan.agents.actor import CompiledActor
from makespan.agents.actor_kernel import CHUNK
from makespan.agents.neural import decisions
from makespan.envs.core.observation import Observation
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.models.policy import GraphPolicy, PolicyConfig

ROWS = 6


def random_network(problem: JobShopProblem, layers: int) -> GraphPolicy:
    torch.manual_seed(3)
    config = PolicyConfig(encoder="none", hidden=32, heads=4, attention_layers=layers)
    network = GraphPolicy(problem.spec, config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


def random_observation(problem: JobShopProblem) -> Observation:
    """Rows of all kinds: some candidates missing, some illegal, features large and small."""
    rng = np.random.default_rng(0)
    observation = problem.spec.allocate(ROWS)
    observation.candidates[:] = rng.normal(size=observation.candidates.shape) ** 3
    observation.globals[:] = rng.normal(size=observation.globals.shape)
    observation.candidate_nodes[:] = np.where(
        rng.random(observation.candidate_nodes.shape) < 0.8, 0, -1
    )
    observation.candidate_nodes[:, 0] = 0
    exists = observation.candidate_nodes[:, :, 0] >= 0
    observation.action_mask[:] = exists & (rng.random(exists.shape) < 0.7)
    observation.action_mask[:, 0] = 1
    return observation


@pytest.mark.parametrize("layers", [1, 2])
def test_scores_are_those_of_the_network(layers: int) -> None:
    jobs = 2 * CHUNK + 5  # more than two chunks of tokens
    instance = JobShopGenerator(jobs=jobs, machines=2).sample(np.random.default_rng(0))
    problem = JobShopProblem.for_instances([instance])
    network, observation = random_network(problem, layers), random_observation(problem)
    rows = np.array([4, 0, 2])
    with torch.inference_mode():
        batch = decisions(observation, rows, False, torch.device("cpu"))
        expected = network(batch, None, None)[0].numpy()
    scores = CompiledActor(network).scores(observation, rows)
    assert scores.shape == expected.shape
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_a_batch_gives_what_its_rows_give_alone() -> None:
    instance = JobShopGenerator(jobs=9, machines=2).sample(np.random.default_rng(0))
    problem = JobShopProblem.for_instances([instance])
    actor = CompiledActor(random_network(problem, 1))
    observation = random_observation(problem)
    together = actor.scores(observation, np.arange(ROWS))
    for row in range(ROWS):
        alone = actor.scores(observation, np.array([row]))[0]
        np.testing.assert_array_equal(together[row, : len(alone)], alone)
        assert np.isneginf(together[row, len(alone) :]).all()
