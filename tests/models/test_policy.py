"""The network: labels, padding and company change nothing; everything is learnt."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from makespan.agents.neural import decisions
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.observation import Observation
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance, Sizes
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.models.encoder import Graph
from makespan.models.policy import ENCODERS, GraphPolicy, PolicyConfig
from makespan.tests.jobshop_reference import routes

CPU = torch.device("cpu")
#: Scores are of the order of 1 to 10 here, in single precision.
TOLERANCE = 1e-4

every_encoder = pytest.mark.parametrize("encoder", ENCODERS)
both_shops = pytest.mark.parametrize(
    # Durations that are never equal: ties are broken by the order of the jobs.
    "generator",
    [
        JobShopGenerator(5, 4, durations=(1, 10**6)),
        FlexibleJobShopGenerator(4, 3, alternatives=(1, 3), durations=(1, 10**6), variation=None),
    ],
    ids=["classical", "flexible"],
)


def make_network(encoder: str, **config: int) -> GraphPolicy:
    """Random weights, large enough for scores that differ and for a graph that counts."""
    torch.manual_seed(0)
    spec = JobShopProblem(Sizes(1, 1, 1, 1)).spec
    network = GraphPolicy(spec, PolicyConfig(encoder, hidden=16, **config))
    large = [network.actor[-1].weight, network.critic[-1].weight]
    if encoder != "none":
        large.append(network.node_input.weight)  # zero before training
    for weight in large:
        torch.nn.init.normal_(weight)  # type: ignore[arg-type]
    return network.eval()


class Play(NamedTuple):
    """A batch in the middle of its episodes."""

    state: Any
    observation: Observation


def play(problem: JobShopProblem, games: list[tuple[JobShopInstance, list[int]]]) -> Play:
    """Each instance in a row of its own, after its decisions."""
    state, observation = problem.allocate(len(games)), problem.spec.allocate(len(games))
    rewards, terminated = np.zeros(len(games)), np.zeros(len(games), dtype=np.bool_)
    for row, (instance, taken) in enumerate(games):
        problem.load(state, observation, row, instance)
        for action in taken:
            actions = np.full(len(games), -1, dtype=np.int64)
            actions[row] = action
            assert observation.action_mask[row, action]
            problem.step(state, observation, actions, rewards, terminated)
    return Play(state, observation)


def random_decisions(
    problem: JobShopProblem, instance: JobShopInstance, count: int, seed: int = 0
) -> list[int]:
    rng, taken = np.random.default_rng(seed), list[int]()
    for _ in range(count):
        mask = play(problem, [(instance, taken)]).observation.action_mask[0]
        taken.append(int(rng.choice(np.flatnonzero(mask))))
    return taken


def score(network: GraphPolicy, observation: Observation) -> tuple[Tensor, Tensor]:
    """Logits (rows, candidates) and values (rows,)."""
    rows = np.arange(len(observation.nodes))
    graph = Graph.from_observation(observation, rows, CPU)
    batch = decisions(observation, rows, network.uses_node_state, CPU)
    logits, values = network(batch, network.encode(graph), torch.from_numpy(rows))
    missing = observation.action_mask.shape[1] - logits.shape[1]
    return torch.nn.functional.pad(logits, (0, missing), value=-torch.inf), values


def numbers(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().numpy()


def relabelled(
    instance: JobShopInstance, jobs: NDArray[np.int64], machines: NDArray[np.int64]
) -> JobShopInstance:
    """Job j is called ``jobs[j]``, machine m ``machines[m]``; alternatives keep their order."""
    renamed = [
        [[(int(machines[m]), duration) for m, duration in operation] for operation in job]
        for job in routes(instance)
    ]
    return JobShopInstance.from_routes(
        [renamed[j] for j in np.argsort(jobs)], instance.num_machines
    )


@every_encoder
@both_shops
@pytest.mark.parametrize("decode", ["active", "append"])
def test_new_labels_of_jobs_and_machines_permute_the_scores(
    encoder: str, generator: Any, decode: str
) -> None:
    rng = np.random.default_rng(0)
    network = make_network(encoder, attention_layers=2)
    for steps in (0, 3, 7):
        instance = generator.sample(rng)
        problem = JobShopProblem.for_instances([instance], decode)
        jobs = rng.permutation(instance.num_jobs)
        machines = rng.permutation(instance.num_machines)
        width = instance.max_alternatives
        new = (jobs[:, None] * width + np.arange(width)).ravel()  # number of each candidate
        taken = random_decisions(problem, instance, steps)
        other = relabelled(instance, jobs, machines)
        here, values = score(network, play(problem, [(instance, taken)]).observation)
        there, other_values = score(
            network, play(problem, [(other, new[taken].tolist())]).observation
        )
        np.testing.assert_allclose(numbers(there)[0, new], numbers(here)[0], atol=TOLERANCE)
        np.testing.assert_allclose(numbers(other_values), numbers(values), atol=TOLERANCE)
        if decode == "append":
            assert np.ptp(numbers(here)[np.isfinite(numbers(here))]) > 10 * TOLERANCE


@every_encoder
@both_shops
def test_padding_changes_no_score(encoder: str, generator: Any) -> None:
    """More jobs, machines, operations and alternatives than the instance has."""
    rng = np.random.default_rng(1)
    network = make_network(encoder)
    for steps in (0, 5):
        instance = generator.sample(rng)
        tight = JobShopProblem.for_instances([instance], "append")
        jobs, machines, operations, width = instance.sizes
        wide = JobShopProblem(Sizes(jobs + 3, machines + 2, operations + 20, width + 2), "append")
        candidates = np.arange(jobs * width)
        moved = candidates // width * (width + 2) + candidates % width
        taken = random_decisions(tight, instance, steps)
        expected, values = score(network, play(tight, [(instance, taken)]).observation)
        found, wide_values = score(
            network, play(wide, [(instance, moved[taken].tolist())]).observation
        )
        np.testing.assert_allclose(numbers(found)[0, moved], numbers(expected)[0], atol=TOLERANCE)
        np.testing.assert_allclose(numbers(wide_values), numbers(values), atol=TOLERANCE)
        assert np.isneginf(np.delete(numbers(found)[0], moved)).all()


@every_encoder
def test_different_graphs_in_a_batch_score_as_alone(encoder: str) -> None:
    rng = np.random.default_rng(2)
    generators: list[Any] = [
        JobShopGenerator((2, 5), (2, 5)),
        FlexibleJobShopGenerator((2, 4), (2, 4)),
    ]
    instances = [generator.sample(rng) for generator in generators * 3]
    problem = JobShopProblem.for_instances(instances, "append")
    games = [(i, random_decisions(problem, i, 3 % i.num_operations)) for i in instances]
    network = make_network(encoder)
    together, values = score(network, play(problem, games).observation)
    for row, game in enumerate(games):
        alone, value = score(network, play(problem, [game]).observation)
        np.testing.assert_allclose(numbers(together)[row], numbers(alone)[0], atol=TOLERANCE)
        assert values[row].item() == pytest.approx(value.item(), abs=TOLERANCE)


@every_encoder
@pytest.mark.parametrize("decode", ["active", "nondelay", "append"])
def test_exactly_the_illegal_candidates_score_minus_infinity(encoder: str, decode: str) -> None:
    instances = [JobShopGenerator(5, 4).sample(np.random.default_rng(seed)) for seed in range(4)]
    problem = JobShopProblem.for_instances(instances, decode)
    games = [(i, random_decisions(problem, i, 4)) for i in instances]
    observation = play(problem, games).observation
    logits, values = score(make_network(encoder), observation)
    np.testing.assert_array_equal(np.isneginf(numbers(logits)), observation.action_mask == 0)
    assert np.isfinite(numbers(logits)[observation.action_mask > 0]).all()
    assert torch.isfinite(values).all()


@every_encoder
def test_gradients_reach_every_parameter(encoder: str) -> None:
    rng = np.random.default_rng(3)
    instances = [FlexibleJobShopGenerator(4, 3).sample(rng) for _ in range(3)]
    problem = JobShopProblem.for_instances(instances, "append")
    games = [(i, random_decisions(problem, i, 3)) for i in instances]
    network = make_network(encoder, attention_layers=2).train()
    logits, values = score(network, play(problem, games).observation)
    legal = logits[torch.isfinite(logits)]
    (legal.sin().sum() + values.sin().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # attention weights do not change when all keys move together
        if not name.endswith("lin_key.bias"):
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name != "none"])
def test_an_encoder_sees_what_lies_ahead(encoder: str) -> None:
    """Operations that no feature of a candidate shows matter through messages alone."""
    begin = [(0, 9), (1, 5), (2, 5)]
    shop = [[*begin, (0, 5), (1, 5)], [(2, 4), (2, 4), (2, 4), (1, 4), (0, 4)]]
    other = [[*begin, (1, 5), (0, 5)], [(2, 4), (2, 4), (2, 4), (0, 4), (1, 4)]]
    instances = [JobShopInstance.from_routes(routes) for routes in (shop, other)]
    problem = JobShopProblem.for_instances(instances, "append")
    observation = play(problem, [(instance, []) for instance in instances]).observation
    np.testing.assert_array_equal(observation.candidates[0], observation.candidates[1])
    logits = numbers(score(make_network(encoder), observation)[0])
    differs = abs(logits[0] - logits[1]).max() > 1e-5
    assert differs == (encoder != "tokens")  # which looks at the next operations and no further


@every_encoder
def test_before_training_the_graph_has_no_say(encoder: str) -> None:
    """So that learning starts from what the candidate features tell."""
    instances = [JobShopGenerator(4, 3).sample(np.random.default_rng(seed)) for seed in range(2)]
    problem = JobShopProblem.for_instances(instances, "append")
    network = GraphPolicy(problem.spec, PolicyConfig(encoder, hidden=16)).eval()
    observation = play(problem, [(instance, []) for instance in instances]).observation
    expected, _ = score(network, observation)
    observation.nodes[:] = 0
    found, _ = score(network, observation)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"encoder": "gat"}, UnknownNameError, "unknown encoder 'gat'; did you mean gatv2"),
        ({"hidden": 18}, UsageError, "hidden: found 18, expected a multiple of 4"),
        ({"hidden": 20, "heads": 8}, UsageError, r"multiple of 4 and of heads \(8\)"),
        ({"heads": 0}, UsageError, "heads: found 0, expected 1 to 64"),
        ({"attention_layers": 0}, UsageError, "attention_layers: found 0, expected 1 to 64"),
        ({"encoder_layers": 0}, UsageError, "encoder_layers: found 0, expected 1 to 64"),
    ],
)
def test_impossible_shapes_are_refused(
    config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PolicyConfig(**config)
