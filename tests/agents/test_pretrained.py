"""Policies that ship: loaded by name, used on an environment's observations."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import makespan
from makespan.agents import pretrained
from makespan.agents.checkpoint import load_checkpoint
from makespan.envs.core.errors import UnknownNameError, UsageError

SHIPPED = [name for name, _ in pretrained.shipped_policies()]
FOLDER = Path(pretrained.__file__).parent


def test_what_ships_is_known_by_name() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.safetensors")) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_is_small_and_has_a_card(name: str) -> None:
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 5_000_000
    card = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for entry in ("command", "reproduction", "data", "seed", "training", "results", "limits"):
        assert card[entry] not in (None, ""), entry
    assert card["command"].startswith(f"python train.py {name} ")
    if "--minutes" in card["command"]:
        assert card["reproduction"].startswith("comparable, not identical")
    made = load_checkpoint(FOLDER / f"{name}.safetensors").data
    training, options = card["training"], made["options"]
    assert training["iterations"] == made["counters"]["iteration"]
    assert training["decisions"] == made["counters"]["steps"]
    assert training["iterations of the run"] == made["run"]["iterations"]
    assert {key: str(value) for key, value in card["physics"].items()}.items() <= options.items()


def test_an_unknown_name_gets_the_close_matches() -> None:
    with pytest.raises(UnknownNameError, match="jobshop"):
        makespan.load_policy("jobshob")


@pytest.mark.parametrize(
    ("name", "env_id"),
    [
        ("jobshop", "makespan/JobShop-v0"),
        ("flexible-jobshop", "makespan/FlexibleJobShop-v0"),
    ],
)
def test_decisions_for_an_environment_are_those_for_a_vector_environment(
    name: str, env_id: str
) -> None:
    policy = makespan.load_policy(name)
    options = {"jobs": 5, "machines": 4, **policy.requires}
    envs = gymnasium.make_vec(env_id, num_envs=3, autoreset_mode="SameStep", **options)
    observations, _ = envs.reset(seed=[4, 5, 6])
    single = gymnasium.make(env_id, **options)
    observation, _ = single.reset(seed=5)
    ended = np.zeros(3, dtype=np.bool_)
    while not ended.all():
        actions = policy.decide(observations)
        if not ended[1]:
            action = policy.decide(observation)
            assert action == actions[1]
            observation = single.step(action)[0]
        observations, _, terminated, _, _ = envs.step(actions)
        ended |= terminated


def test_an_observation_without_the_graph_is_refused() -> None:
    policy = makespan.load_policy("jobshop")
    env = gymnasium.make("makespan/JobShop-v0", observation="candidates", **policy.requires)
    observation, _ = env.reset(seed=0)
    with pytest.raises(UsageError, match='observation="graph"'):
        policy.decide(observation)
