"""Stable-Baselines3 with our environments and our network."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan

from makespan.agents.checkpoint import load_checkpoint, load_policy
from makespan.agents.neural import NeuralPolicy
from makespan.agents.ppo import PPOConfig
from makespan.agents.sb3 import STEPS, MaskableGraphPolicy, MaskablePPOTrainer, SchedulingVecEnv
from makespan.agents.trainer import CHECKPOINT, RunConfig, Trainer
from makespan.envs import FAMILIES
from makespan.envs.core.env import ObservationMode, SchedulingEnv
from makespan.envs.core.errors import CheckpointError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.core.vector_env import SchedulingVectorEnv
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.models.encoder import CONVOLUTIONS, Graph
from makespan.models.policy import GraphPolicy, PolicyConfig

GENERATOR = JobShopGenerator(jobs=(2, 4), machines=3)
PROBLEM = JobShopProblem(GENERATOR.largest)
ENCODERS = ("none", "tokens", *CONVOLUTIONS)


def make_env(num_envs: int = 4, replicas: int = 1, **options: Any) -> SchedulingVecEnv:
    options = {"autoreset_mode": "SameStep", **options}
    return SchedulingVecEnv(SchedulingVectorEnv(num_envs, PROBLEM, GENERATOR, **options), replicas)


def small(encoder: str) -> PolicyConfig:
    return PolicyConfig(encoder=encoder, hidden=8, heads=2, encoder_layers=1)


def make_model(encoder: str, env: SchedulingVecEnv, **settings: Any) -> Any:
    kwargs = {"spec": PROBLEM.spec, "config": small(encoder)}
    settings = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "seed": 0, **settings}
    return MaskablePPO(MaskableGraphPolicy, env, policy_kwargs=kwargs, **settings)


def observation_for(encoder: str) -> ObservationMode:
    return "candidates" if encoder == "none" else "graph"


def random_legal(masks: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[Any]:
    scores = np.where(masks, rng.random(masks.shape), -1)
    return np.asarray(scores.argmax(axis=1))


@pytest.mark.parametrize("observation", ["graph", "candidates"])
def test_single_environment_passes_the_checker_of_sb3(observation: ObservationMode) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # a matrix per key is what our policy wants; the default policies flatten it
        warnings.filterwarnings("ignore", message=".*unconventional shape")
        check_env(SchedulingEnv(PROBLEM, GENERATOR, observation))


def test_observations_and_rewards_are_finite_and_in_their_spaces() -> None:
    env = VecCheckNan(make_env(), raise_exception=True)
    rng = np.random.default_rng(0)
    observations: Any = env.reset()
    for _ in range(40):
        for row in range(env.num_envs):
            single = {key: value[row] for key, value in observations.items()}
            assert env.observation_space.contains(single)
        observations, _, _, _ = env.step(random_legal(get_action_masks(env), rng))


@pytest.mark.parametrize("observation", ["graph", "candidates"])
@pytest.mark.parametrize("careless", [0.0, 0.1])
def test_equals_single_environments_step_by_step(
    observation: ObservationMode, careless: float
) -> None:
    def single() -> Monitor[Any, Any]:
        return Monitor(SchedulingEnv(PROBLEM, GENERATOR, observation))

    expected, found = DummyVecEnv([single] * 5), make_env(5, observation=observation)
    rng = np.random.default_rng(1)
    assert expected.seed(7) == found.seed(7)
    same(expected.reset(), found.reset())
    ended = 0
    for _ in range(120):
        masks = get_action_masks(found)
        np.testing.assert_array_equal(masks, get_action_masks(expected))
        assert masks.dtype == np.bool_
        actions = random_legal(masks | (rng.random((5, 1)) < careless), rng)
        one, many = expected.step(actions), found.step(actions)
        for part in range(3):
            same(one[part], many[part])
        for info, batched in zip(one[3], many[3], strict=True):
            if "terminal_observation" in info:
                same_final_info(info, batched)
                ended += 1
            else:
                assert batched == {}
    assert ended > 50


def same(one: Any, many: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == many.keys()
        for key in one:
            same(one[key], many[key])
    else:
        np.testing.assert_array_equal(one, many)
        assert one.dtype == many.dtype


def same_final_info(info: dict[str, Any], batched: dict[str, Any]) -> None:
    assert info.keys() == batched.keys()
    same(info["terminal_observation"], batched["terminal_observation"])
    assert batched["TimeLimit.truncated"] is False
    assert info["episode"]["l"] == batched["episode"]["l"]
    assert info["episode"]["r"] == pytest.approx(batched["episode"]["r"], abs=1e-6)
    for key in info.keys() - {"terminal_observation", "TimeLimit.truncated", "episode"}:
        np.testing.assert_array_equal(info[key], batched[key])


def test_made_by_id() -> None:
    rows = gymnasium.make_vec("makespan/JobShop-v0", 3, autoreset_mode="SameStep", jobs=2)
    env = SchedulingVecEnv(rows)
    assert env.get_attr("spec")[0].id == "makespan/JobShop-v0"
    assert env.reset()["candidates"].shape[0] == 3
    env.close()
    env.close()


def test_the_rows_answer_for_attributes_and_methods() -> None:
    env = make_env(4, render_mode="rgb_array")
    env.reset()
    assert is_masking_supported(env)
    assert not env.has_attr("nonsense")
    assert env.get_attr("problem", indices=[0, 2]) == [PROBLEM, PROBLEM]
    assert len(env.env_method("action_masks", indices=1)) == 1
    assert env.env_is_wrapped(Monitor) == [True] * 4
    image = env.render()
    assert image is not None
    assert image.ndim == 3
    assert make_env(2).get_images() == [None, None]


def test_a_new_generator_takes_effect_with_the_next_episodes() -> None:
    env = make_env(2)
    env.set_attr("generator", JobShopGenerator(jobs=1, machines=1))
    env.reset()
    _, _, done, _ = env.step(np.zeros(2))
    assert done.all()
    with pytest.raises(UsageError, match="share"):
        env.set_attr("generator", GENERATOR, indices=0)


def test_replicas_play_the_same_instances() -> None:
    env = make_env(6, replicas=3)
    rng = np.random.default_rng(0)
    observations: Any = env.reset()
    played = 0
    for _ in range(30):
        nodes = observations["nodes"].reshape(2, 3, -1)
        assert (nodes == nodes[:, :1]).all()
        assert (nodes[0] != nodes[1]).any()
        observations, _, done, _ = env.step(random_legal(get_action_masks(env), rng))
        played += done.sum()
    assert played > 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_env(autoreset_mode="NextStep"), "SameStep"),
        (lambda: make_env(copy=False), "copy=True"),
        (lambda: make_env(4, replicas=3), "divisor"),
        (lambda: SchedulingVecEnv(gymnasium.make_vec("CartPole-v1", 2)), "CartPole"),
        (lambda: make_model("gine", make_env(observation="candidates")), "observation='graph'"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_options_of_a_reset_are_refused() -> None:
    env = make_env()
    env.set_options({"instance": None})
    with pytest.raises(UsageError, match="options"):
        env.reset()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_maskable_ppo_trains_our_network(encoder: str) -> None:
    env = make_env(4, observation=observation_for(encoder), illegal_action="raise")
    model = make_model(encoder, env)
    before = model.policy.to_graph_policy().state_dict()
    model.learn(500)
    after = model.policy.to_graph_policy().state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    changed = [not torch.equal(before[name], after[name]) for name in before]
    # the last query's bias apart from others, softmax ignores what all scores share
    assert np.mean(changed) > 0.9
    assert len(model.ep_info_buffer) > 20


def test_graph_policy_works_on_the_whole_graph_without_an_encoder() -> None:
    make_model("none", make_env(observation="graph")).learn(128)


def test_maskable_ppo_improves() -> None:
    def mean_return() -> float:
        env = make_env(8, observation="candidates")
        env.seed(100)
        mean, _ = evaluate_policy(model, env, 200)
        assert isinstance(mean, float)
        return mean

    model = make_model("none", make_env(8, observation="candidates"), learning_rate=3e-3)
    untrained = mean_return()
    model.learn(6000)
    assert mean_return() > untrained + 0.05


@pytest.mark.parametrize("observation", ["graph", "candidates"])
def test_ppo_without_masks_ends_episodes_by_illegal_actions(observation: str) -> None:
    env = make_env(4, observation=observation)
    model = PPO("MultiInputPolicy", env, n_steps=32, batch_size=64, n_epochs=1, seed=0)
    model.learn(500)
    assert model.ep_info_buffer
    infos = []
    env.reset()
    for _ in range(5):
        infos += env.step(np.full(4, 3))[3]
    assert any("illegal_action" in info for info in infos)


@pytest.mark.parametrize("flexible", [False, True])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_weights_move_both_ways_and_give_the_same_scores(encoder: str, flexible: bool) -> None:
    generator = FlexibleJobShopGenerator(jobs=(2, 4), machines=3) if flexible else GENERATOR
    problem = JobShopProblem(generator.largest)
    rows = SchedulingVectorEnv(
        6, problem, generator, observation_for(encoder), autoreset_mode="SameStep"
    )
    env = SchedulingVecEnv(rows)
    kwargs = {"spec": problem.spec, "config": small(encoder)}
    model: Any = MaskablePPO(MaskableGraphPolicy, env, policy_kwargs=kwargs, seed=0)
    ours = GraphPolicy(problem.spec, small(encoder)).eval()
    with torch.no_grad():
        for weight in ours.parameters():  # none as the model's own were made
            weight.normal_(std=0.3)
    model.policy.load_graph_policy(ours)
    back = model.policy.to_graph_policy()
    rng = np.random.default_rng(0)
    observations: Any = env.reset()
    for _ in range(12):
        scores = []
        for network in (ours, back):
            policy = NeuralPolicy("policy", network)
            policy.start(problem, None, rows._observation)
            scores.append(policy.scores(problem, None, rows._observation, np.arange(6)))
        expected, returned = scores
        np.testing.assert_array_equal(returned, expected)
        tensors, _ = model.policy.obs_to_tensor(observations)
        masks = get_action_masks(env)
        with torch.no_grad():
            found = model.policy.get_distribution(tensors, masks).distribution.logits.numpy()
            values = model.policy.predict_values(tensors)
        expected = torch.from_numpy(expected).log_softmax(dim=1).numpy()
        legal = masks[:, : expected.shape[1]]
        np.testing.assert_allclose(found[masks], expected[legal], atol=1e-5)
        assert (found[~masks] < -1e6).all()
        assert values.shape == (6, 1)
        observations, _, _, _ = env.step(random_legal(masks, rng))


def test_the_copy_of_the_network_is_independent() -> None:
    model = make_model("none", make_env(observation="candidates"))
    copy = model.policy.to_graph_policy()
    before = {name: value.clone() for name, value in copy.state_dict().items()}
    model.learn(128)
    assert all(torch.equal(before[name], value) for name, value in copy.state_dict().items())
    assert not copy.training


def test_a_passed_mask_forbids_more() -> None:
    env = make_env(4, observation="candidates")
    model = make_model("none", env)
    observations: Any = env.reset()
    masks = get_action_masks(env)
    highest = masks & (masks.cumsum(axis=1) == masks.sum(axis=1, keepdims=True))
    actions, _ = model.predict(observations, action_masks=highest)
    np.testing.assert_array_equal(actions, highest.argmax(axis=1))


def test_predictions_without_a_mask_are_legal() -> None:
    env = make_env(16, illegal_action="raise")
    model = make_model("gine", env)
    observations: Any = env.reset()
    for _ in range(20):
        actions, _ = model.predict(observations)
        observations, _, _, _ = env.step(actions)


def test_terminal_observations_have_a_value() -> None:
    env = make_env(4, observation="candidates")
    model = make_model("none", env)
    env.reset()
    while True:
        _, _, done, infos = env.step(random_legal(get_action_masks(env), np.random.default_rng(0)))
        if done.any():
            break
    last = infos[int(done.argmax())]["terminal_observation"]
    tensors, _ = model.policy.obs_to_tensor(last)
    assert torch.isfinite(model.policy.predict_values(tensors)).all()


def test_a_graph_is_encoded_once_per_episode_and_again_when_weights_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = make_env(4, replicas=2)
    policy = make_model("gine", env).policy
    encoded: list[int] = []
    encode = policy.network.encode

    def spy(graph: Graph) -> Any:
        encoded.append(len(graph.nodes))
        return encode(graph)

    monkeypatch.setattr(policy.network, "encode", spy)
    env.seed(0)
    tensors, _ = policy.obs_to_tensor(env.reset())
    with torch.no_grad():
        first = policy.predict_values(tensors)
        second = policy.predict_values(tensors)
        assert encoded == [2]  # two pairs of replicas
        policy.optimizer.zero_grad()
    policy.predict_values(tensors).sum().backward()
    assert encoded == [2, 2]  # gradients need a fresh encoding
    policy.optimizer.step()
    with torch.no_grad():
        third = policy.predict_values(tensors)
    fresh = policy.predict_values(tensors)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(third, fresh.detach())
    assert not torch.allclose(first, third)


@pytest.mark.parametrize("encoder", ["none", "gine"])
def test_a_saved_model_predicts_the_same(encoder: str, tmp_path: Path) -> None:
    env = make_env(4, observation=observation_for(encoder))
    model = make_model(encoder, env).learn(128)
    model.save(tmp_path / "model")
    loaded: Any = MaskablePPO.load(tmp_path / "model", env=env)
    model.policy.save(tmp_path / "policy")
    policy: Any = MaskableGraphPolicy.load(str(tmp_path / "policy"))
    tensors, _ = model.policy.obs_to_tensor(env.reset())
    with torch.no_grad():
        expected = model.policy.get_distribution(tensors).distribution.logits
        for other in (loaded.policy, policy):
            assert torch.equal(other.get_distribution(tensors).distribution.logits, expected)
    loaded.learn(128)


def make_trainer(folder: Path, cls: type[Trainer] = MaskablePPOTrainer, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "policy": small("none"),
        "ppo": PPOConfig(instances=1, replicas=2, epochs=1, minibatch=64),
        "run": RunConfig(iterations=2, seed=3, validation=4, validate_every=1, checkpoint_every=1),
        **changes,
    }
    generator = JobShopGenerator(jobs=(2, 3), machines=2)
    options = {"decode": "nondelay"}
    return cls(FAMILIES["jobshop"](), generator, options, folder=folder, **settings)


@pytest.mark.parametrize("encoder", ["none", "gine"])
def test_a_run_ends_with_a_policy_in_our_format(encoder: str, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, policy=small(encoder))
    rows: list[dict[str, Any]] = []
    trainer.train(rows.append)
    assert [row["steps"] for row in rows] == [2 * STEPS, 4 * STEPS]
    assert rows[1]["learning_rate"] < rows[0]["learning_rate"]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert trainer.optimizer.param_groups[0]["lr"] == rows[1]["learning_rate"]
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3
    network, data = load_policy(
        tmp_path / "policy.safetensors", "jobshop", lambda **_: trainer.problem.spec
    )
    assert data["algorithm"] == "maskable-ppo"
    instances = trainer.validation
    problem = trainer.family.make_problem(instances, **trainer.options)
    policy = NeuralPolicy("trained", network)
    for solution, instance in zip(
        rollout(problem, instances, policy, np.random.default_rng(0)), instances, strict=True
    ):
        solution.validate(instance)


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        trainer = make_trainer(tmp_path / name)
        trainer.train()
        weights.append(trainer.network.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    stopped = make_trainer(tmp_path)
    stopped.train(stop=lambda: stopped.counters.iteration == 1)
    resumed = make_trainer(tmp_path)
    resumed.resume()
    assert resumed.counters == stopped.counters
    before = load_checkpoint(tmp_path / CHECKPOINT)
    resumed.save()
    after = load_checkpoint(tmp_path / CHECKPOINT)
    assert after.data == before.data
    assert all(torch.equal(value, after.tensors[name]) for name, value in before.tensors.items())
    resumed.train()
    assert resumed.counters.iteration == 2
    assert resumed.model.policy.network is resumed.network


def test_a_run_of_another_algorithm_cannot_be_resumed(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Trainer)
    trainer.save()
    with pytest.raises(CheckpointError, match="made with algorithm"):
        make_trainer(tmp_path).resume()


def test_a_curriculum_starts_with_the_smallest_sizes(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, run=RunConfig(iterations=4, curriculum=True, validation=1))
    seen = []
    trainer.train(lambda row: seen.append(trainer.model.get_env().get_attr("generator")[0].jobs))
    assert seen[0] == (2, 2)
    assert seen[-1] == (2, 3)


def test_settings_that_maskable_ppo_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="center"):
        make_trainer(tmp_path, ppo=PPOConfig(center=0.5))
