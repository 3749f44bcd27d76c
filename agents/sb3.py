"""Stable-Baselines3 on our problems: a native ``VecEnv``, our network as a policy, a training run.

    rows = gymnasium.make_vec("makespan/JobShop-v0", 16, autoreset_mode="SameStep", jobs=(6, 10))
    env = SchedulingVecEnv(rows)
    kwargs = {"spec": env.envs.problem.spec, "config": PolicyConfig(encoder="gine")}
    model = MaskablePPO(MaskableGraphPolicy, env, policy_kwargs=kwargs).learn(100_000)
    network = model.policy.to_graph_policy()

``SchedulingVecEnv`` serves every algorithm of Stable-Baselines3 for discrete actions; those that
know no masks end their episodes by illegal actions until they have learnt what is legal.
"""

import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import Wrapper, spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule, safe_mean
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices
from torch import Tensor

from makespan.agents.checkpoint import Checkpoint
from makespan.agents.trainer import TRAINING_STREAM, Learnt, Trainer
from makespan.envs.core.errors import UsageError
from makespan.envs.core.observation import ObservationSpec
from makespan.envs.core.problem import Generator
from makespan.envs.core.vector_env import SchedulingVectorEnv
from makespan.models.encoder import Graph
from makespan.models.policy import Decisions, GraphPolicy, PolicyConfig

Arrays = dict[str, NDArray[Any]]
Tensors = Mapping[str, Tensor]

#: Score of an illegal candidate; finite, so that libraries may multiply it by a probability of 0.
ILLEGAL = -1e8

#: Decisions per row in an iteration of :class:`MaskablePPOTrainer`.
STEPS = 128


class SchedulingVecEnv(VecEnv):
    """A :class:`SchedulingVectorEnv` with the interface of Stable-Baselines3.

    Only the rows whose episodes end get a filled info: ``terminal_observation``,
    ``TimeLimit.truncated`` (never), ``episode`` (as Monitor gives it) and the problem's metrics.
    Masks come from ``env_method("action_masks")`` or the observation, not from infos.

    Args:
        envs: a SchedulingVectorEnv, made by hand or by ``gymnasium.make_vec``, with autoreset mode
            SAME_STEP and copies: Stable-Baselines3 reads an observation after the next step.
        replicas: rows in each group that gets the same seed and so plays the same instances.

    Raises:
        UsageError: for other environments or modes, or when the rows do not divide into groups.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], replicas: int = 1) -> None:
        if not isinstance(envs, SchedulingVectorEnv):
            raise UsageError(f"envs: found {envs}, expected a SchedulingVectorEnv without wrappers")
        if envs.autoreset_mode is not AutoresetMode.SAME_STEP or not envs.copy:
            raise UsageError(
                f"found autoreset_mode {envs.autoreset_mode.value!r} and copy={envs.copy}, "
                "Stable-Baselines3 needs autoreset_mode 'SameStep' and copy=True"
            )
        if replicas < 1 or envs.num_envs % replicas:
            raise UsageError(
                f"replicas: found {replicas}, expected a divisor of num_envs ({envs.num_envs})"
            )
        self.envs = envs
        self.replicas = replicas
        self._started = time.time()
        self._actions = np.zeros(envs.num_envs, dtype=np.int64)
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, dtype=np.int64)
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self.seed()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds for the next reset: group ``i`` of the replicas gets ``seed + i``."""
        seeds = super().seed(seed)
        self._seeds = [seeds[row // self.replicas] for row in range(self.num_envs)]
        return self._seeds

    def reset(self) -> Arrays:
        """Start episodes in all rows; returns the observations."""
        if any(self._options):
            raise UsageError("options: the rows take none; make the environment of the instances")
        observations, _ = self.envs.reset(seed=self._seeds)
        self._reset_seeds()
        self._returns[:] = 0
        self._lengths[:] = 0
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions[:] = actions

    def step_wait(
        self,
    ) -> tuple[Arrays, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """One decision per row; rows whose episodes end begin the next ones."""
        observations, rewards, done, _, infos = self.envs.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        rows: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):
            rows[row] = self._final_info(row, infos)
        self._returns[done] = 0
        self._lengths[done] = 0
        return observations, rewards.astype(np.float32), done, rows

    def _final_info(self, row: np.intp, infos: dict[str, Any]) -> dict[str, Any]:
        final = infos["final_info"]
        info = {
            key: final[key][row] for key in final if "_" + key in final and final["_" + key][row]
        }
        episode = {
            "r": float(self._returns[row]),
            "l": int(self._lengths[row]),
            "t": round(time.time() - self._started, 6),
        }
        last = {"terminal_observation": infos["final_obs"][row], "TimeLimit.truncated": False}
        return {**info, **last, "episode": episode}

    def close(self) -> None:
        """Close the environment underneath."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute that all rows share, once for each of ``indices``."""
        value = getattr(self.envs, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of all rows, e.g. ``generator``; raises UsageError for some rows."""
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise UsageError(f"{attr_name}: the rows share their attributes, set it for all")
        setattr(self.envs, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method that answers for all rows, such as ``action_masks`` or ``render``."""
        result = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        return [result[row] for row in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No wrappers, but episodes are reported as Monitor does, which is what is asked for."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A picture of each row, None without render mode."""
        images: Sequence[NDArray[np.uint8] | None] | None = self.envs.render()
        return [None] * self.num_envs if images is None else images


class MaskableGraphPolicy(MaskableActorCriticPolicy):
    """Our network as a policy of sb3-contrib's MaskablePPO.

    The mask of the observation always holds: an illegal candidate has no score. A mask that is
    passed as well can only forbid more.

    Args:
        observation_space, action_space, lr_schedule: given by the algorithm.
        spec: of the problem.
        config: shape of the network; encoder "none" for ``observation="candidates"``.
        optimizer_class, optimizer_kwargs: as for every policy of Stable-Baselines3.

    Raises:
        UsageError: when the encoder needs a graph that the observation does not have.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        spec: ObservationSpec,
        config: PolicyConfig,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if config.encoder != "none" and "nodes" not in observation_space.spaces:
            raise UsageError(
                f"encoder: found {config.encoder!r} with observation='candidates', expected "
                "'none', or observation='graph'"
            )
        self.spec = spec
        self.config = config
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        self.network = GraphPolicy(self.spec, self.config)
        self._encodings: dict[bytes, Tensor] = {}
        self._weights: list[tuple[int, int]] = []
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1.0),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "spec": self.spec,
            "config": self.config,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def to_graph_policy(self) -> GraphPolicy:
        """A copy of the network, in evaluation mode, for our own trainer, rollouts and search."""
        return copy.deepcopy(self.network).eval()

    def load_graph_policy(self, network: GraphPolicy) -> None:
        """Take over the weights of a network of the same shape."""
        self.network.load_state_dict(network.state_dict())

    def forward(  # type: ignore[override]
        self,
        obs: Tensors,
        deterministic: bool = False,
        action_masks: NDArray[Any] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B,), values (B, 1) and log-probabilities (B,) of the actions."""
        distribution, values = self._evaluate(obs, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions)

    def evaluate_actions(  # type: ignore[override]
        self, obs: Tensors, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (B, 1), log-probabilities (B,) of ``actions``, and entropies (B,)."""
        distribution, values = self._evaluate(obs, action_masks)
        return values, distribution.log_prob(actions), distribution.entropy()

    def get_distribution(  # type: ignore[override]
        self, obs: Tensors, action_masks: NDArray[Any] | None = None
    ) -> MaskableDistribution:
        """The distribution of actions."""
        return self._evaluate(obs, action_masks)[0]

    def predict_values(self, obs: Tensors) -> Tensor:  # type: ignore[override]
        """Values (B, 1)."""
        return self._evaluate(obs, None)[1]

    def _evaluate(
        self, observation: Tensors, masks: NDArray[Any] | Tensor | None
    ) -> tuple[MaskableDistribution, Tensor]:
        decisions = _decisions(observation, self.network.uses_node_state)
        encoding, graph_index = self._encode(observation)
        logits, values = self.network(decisions, encoding, graph_index)
        distribution = self.action_dist.proba_distribution(action_logits=logits.clamp(min=ILLEGAL))
        if masks is not None:
            distribution.apply_masking(masks)
        return distribution, values.unsqueeze(1)

    def _encode(self, observation: Tensors) -> tuple[Tensor | None, Tensor | None]:
        """Encoding of the distinct graphs, and (B,) the graph of each observation."""
        if not self.network.uses_graph:
            return None, None
        keys = _graph_keys(observation)
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        number = {key: index for index, key in enumerate(first)}
        graph_index = torch.tensor([number[key] for key in keys], device=self.device)
        if torch.is_grad_enabled():
            return self.network.encode(_graphs(observation, list(first.values()))), graph_index
        return self._remembered(observation, first), graph_index

    def _remembered(self, observation: Tensors, first: dict[bytes, int]) -> Tensor:
        """As :meth:`GraphPolicy.encode`, but only of graphs that were not in the last batch.

        An episode keeps its graph, so while steps are collected most graphs come again; encoding
        them at each step would cost far more than all the rest.

        Args:
            observation: with B rows.
            first: a row for each distinct graph.
        """
        weights = [(p.data_ptr(), p._version) for p in self.network.parameters()]
        known = self._encodings if weights == self._weights else {}
        self._weights = weights
        new = [key for key in first if key not in known]
        if new:
            encoded = self.network.encode(_graphs(observation, [first[key] for key in new]))
            assert encoded is not None  # this network uses the graph
            known = {**known, **dict(zip(new, encoded, strict=True))}
        self._encodings = {key: known[key] for key in first}
        return torch.stack(list(self._encodings.values()))


def _decisions(observation: Tensors, with_node_state: bool) -> Decisions:
    """What changes from step to step, of all observations."""
    candidates, mask = observation["candidates"], observation["action_mask"].bool()
    if "candidate_nodes" in observation:
        nodes = observation["candidate_nodes"].long()
    else:
        # without the graph only existence counts; a candidate that does not exist has no features
        exists = (candidates != 0).any(dim=2) | mask
        nodes = exists.long().unsqueeze(2) - 1
    node_state = None
    if with_node_state:
        rows = torch.arange(len(nodes), device=nodes.device)[:, None, None]
        node_state = observation["node_state"][rows, nodes.clamp(min=0)]
        node_state = node_state.masked_fill((nodes < 0).unsqueeze(3), 0)
    return Decisions(candidates, nodes, observation["globals"], mask, node_state)


def _graph_keys(observation: Tensors) -> list[bytes]:
    """For each observation the bytes of its static graph: equal for equal graphs only."""
    arrays = [observation[field].cpu().numpy() for field in Graph._fields]
    return [b"".join(array[row].tobytes() for array in arrays) for row in range(len(arrays[0]))]


def _graphs(observation: Tensors, rows: list[int]) -> Graph:
    """The graphs of the given rows; trailing padding edges are cut."""
    edge_type = observation["edge_type"][rows].long()
    used = int((edge_type >= 0).sum(dim=1).max())
    return Graph(
        observation["nodes"][rows],
        observation["node_type"][rows].long(),
        observation["edges"][rows][:, :, :used].long(),
        edge_type[:, :used],
        observation["edge_features"][rows][:, :used],
    )


class MaskablePPOTrainer(Trainer):
    """The run of :class:`Trainer` around MaskablePPO: same arguments, logs, validation, files.

    An iteration takes ``STEPS`` decisions in each of ``instances * replicas`` rows, where the
    replicas play the same instances; episodes go on in the next iteration. Decisions with one legal
    candidate are learnt from like all others. Rewards are divided by their running scale. A resumed
    run starts new episodes, so it does not give the numbers of one that never stopped.

    Raises:
        UsageError: for settings that MaskablePPO does not have.
    """

    algorithm: ClassVar[str] = "maskable-ppo"
    unused: ClassVar[tuple[str, ...]] = ("center",)

    def _prepare(self) -> None:
        """The model around the network, its environments and its optimizer."""
        if self.processes.size > 1:
            raise UsageError(f"found {self.processes.size} processes, maskable-ppo has one")
        if self.run.imitate:
            raise UsageError("imitate: maskable-ppo has no such setting")
        self._rewards = VecNormalize(self._make_envs(), norm_obs=False, gamma=self.ppo.discount)
        self.model = self._make_model()
        self.model.policy.network, self.model.policy.optimizer = self.network, self.optimizer
        self._seed()

    def _make_envs(self) -> SchedulingVecEnv:
        needs_graph = self.network.uses_graph
        envs = SchedulingVectorEnv(
            self.ppo.instances * self.ppo.replicas,
            self.problem,
            self.generator,
            observation="graph" if needs_graph else "candidates",
            illegal_action="raise",
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        return SchedulingVecEnv(envs, self.ppo.replicas)

    def _make_model(self) -> MaskablePPO:
        ppo = self.ppo
        model = MaskablePPO(
            MaskableGraphPolicy,
            self._rewards,
            learning_rate=ppo.learning_rate,
            n_steps=STEPS,
            batch_size=ppo.minibatch,
            n_epochs=ppo.epochs,
            gamma=ppo.discount,
            gae_lambda=ppo.gae_lambda,
            clip_range=ppo.clip,
            ent_coef=ppo.entropy,
            vf_coef=ppo.value,
            max_grad_norm=ppo.max_grad_norm,
            policy_kwargs={"spec": self.problem.spec, "config": self.network.config},
            device=self.device,
        )
        # the run keeps the logs; figures of an iteration are read from the logger
        model.set_logger(Logger(folder=None, output_formats=[]))
        return model

    def _seed(self) -> None:
        """Seed everything random from the run's seed and the iteration."""
        entropy = [TRAINING_STREAM, self.run.seed, self.counters.iteration]
        seed = np.random.SeedSequence(entropy).generate_state(1)[0]
        self.model.set_random_seed(int(seed))

    def _learn(self, rate: float, generator: Generator[Any]) -> Learnt:
        """Collect and update once."""
        self.model.lr_schedule = FloatSchedule(rate)
        self._rewards.set_attr("generator", generator)
        steps = STEPS * self._rewards.num_envs
        self.model.learn(steps, reset_num_timesteps=False)
        returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        return Learnt(steps, float(safe_mean(returns)), self._losses())

    def _losses(self) -> dict[str, float]:
        """Mean losses of the last update, under the names that our PPO gives them."""
        logged = self.model.logger.name_to_value
        return {
            "loss": float(logged["train/loss"]),
            "policy_loss": float(logged["train/policy_gradient_loss"]),
            "value_loss": float(logged["train/value_loss"]),
            "entropy": -float(logged["train/entropy_loss"]),
            "kl": float(logged["train/approx_kl"]),
            "clipped": float(logged["train/clip_fraction"]),
        }

    def _data(self) -> dict[str, Any]:
        scale = self._rewards.ret_rms
        scale_data = {"mean": float(scale.mean), "var": float(scale.var), "count": scale.count}
        return {**super()._data(), "reward_scale": scale_data}

    def _restore(self, checkpoint: Checkpoint) -> None:
        super()._restore(checkpoint)
        for name, value in checkpoint.data["reward_scale"].items():
            setattr(self._rewards.ret_rms, name, value)
        self._seed()
