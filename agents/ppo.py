"""Batched proximal policy optimisation (Schulman et al. 2017) on a problem's kernels.

One iteration: draw instances, play several replicas of each to the end, estimate advantages (GAE,
Schulman et al. 2016), update on shuffled minibatches with a clipped objective. Decisions with one
legal candidate are taken without the network and are not learnt from; their rewards belong to the
decision before. The static graph of each instance is encoded once per minibatch, whatever the
number of decisions taken on it.

With an expert, a policy or a solver whose solutions are followed, the first iterations imitate it
instead: the expert plays, now and then interrupted by the network so that states beside its path
are seen (as in DAgger, Ross et al. 2011), and the loss is the cross-entropy of its actions. The
value is learnt as always.

Everything random in iteration i derives from (seed, i), so a run resumed from a checkpoint gives
the same numbers as one that never stopped; and from nothing that depends on how the instances are
shared among processes, see :mod:`makespan.agents.distributed`.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from makespan.agents.distributed import ALONE, Processes
from makespan.agents.following import Follower
from makespan.agents.neural import decisions
from makespan.envs.core.errors import UsageError
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.core.problem import Generator, Problem
from makespan.envs.core.rollout import Policy, step_forced
from makespan.models.encoder import Graph
from makespan.models.policy import Decisions, GraphPolicy

#: Share of the decisions that the expert takes while it is imitated.
EXPERT_SHARE = 0.9


@dataclass(frozen=True)
class PPOConfig:
    """Settings of the algorithm.

    Attributes:
        instances: instances per iteration.
        replicas: episodes played on each instance.
        epochs: passes over the decisions of an iteration.
        minibatch: decisions per gradient step.
        learning_rate: initial rate of Adam.
        clip: range of the probability ratio.
        discount: per decision.
        gae_lambda: of the advantage estimate.
        entropy: coefficient of the entropy bonus.
        value: coefficient of the value loss.
        max_grad_norm: gradients are scaled down to it.
        center: how much of the mean advantage of an instance's replicas is subtracted (0 to 1).
    """

    instances: int = 8
    replicas: int = 12
    epochs: int = 2
    minibatch: int = 1024
    learning_rate: float = 5e-4
    clip: float = 0.2
    discount: float = 1.0
    gae_lambda: float = 0.98
    entropy: float = 0.005
    value: float = 0.5
    max_grad_norm: float = 1.0
    center: float = 0.0

    def __post_init__(self) -> None:
        # written so that NaN fails as well
        for field in (
            *("instances", "replicas", "epochs", "minibatch"),
            *("learning_rate", "clip", "max_grad_norm"),
        ):
            if not 0 < getattr(self, field) < math.inf:
                raise UsageError(f"{field}: found {getattr(self, field)}, expected more than 0")
        for field in ("entropy", "value"):
            if not 0 <= getattr(self, field) < math.inf:
                raise UsageError(f"{field}: found {getattr(self, field)}, expected at least 0")
        for field in ("discount", "gae_lambda", "center"):
            if not 0 <= getattr(self, field) <= 1:
                raise UsageError(f"{field}: found {getattr(self, field)}, expected 0 to 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return asdict(self)


class Experience(NamedTuple):
    """The D decisions of one iteration that this process took, in order of time and then row.

    Figures of the whole are sums and means over all processes.
    """

    decisions: Decisions
    graph_index: Tensor  # (D,) int64
    actions: Tensor  # (D,) int64
    log_probs: Tensor  # (D,)
    advantages: Tensor  # (D,)
    returns: Tensor  # (D,)
    graph: Graph | None
    moments: NDArray[np.int64]  # (D,) how many decisions its episode had before
    rows: NDArray[np.int64]  # (D,) which of all instances * replicas episodes it belongs to
    totals: NDArray[np.float64]  # (instances * replicas,) returns of the episodes; 0 of others
    steps: int  # decisions of the environment, forced ones included
    mean_return: float  # of the episodes


def collect(
    network: GraphPolicy,
    problem: Problem[Any],
    generator: Generator[Any],
    config: PPOConfig,
    rng: np.random.Generator,
    device: torch.device,
    value_scale: float,
    expert: Policy | None = None,
    processes: Processes = ALONE,
) -> Experience:
    """Play ``config.replicas`` episodes on each of ``config.instances`` fresh instances.

    Of several processes, each plays its share of the instances. With an ``expert``, it takes most
    decisions, and ``Experience.actions`` are all its own.

    Raises:
        UsageError: when no instance leaves a choice; for fewer instances than processes.
    """
    instance_rng, noise_rng, expert_rng = rng.spawn(3)
    share = processes.share(config.instances)
    first, rows = share.start * config.replicas, len(share) * config.replicas
    state, observation = problem.allocate(rows), problem.spec.allocate(rows)
    instances = [generator.sample(instance_rng) for _ in range(config.instances)]
    for row in range(rows):
        problem.load(state, observation, row, instances[(first + row) // config.replicas])
    graph, encoding = _encode(network, observation, config, device)
    graph_of_row = torch.arange(rows, device=device) // config.replicas
    done = np.zeros(rows, dtype=np.bool_)
    rewards = np.zeros(rows)
    total = np.zeros(rows)
    if expert is not None:
        if isinstance(expert, Follower):
            own = slice(share.start, share.stop)
            chance = expert_rng.spawn(config.instances)
            expert.solve(instances[own], config.replicas, chance[own])
        expert.start(problem, state, observation)
    steps = step_forced(problem, state, observation, done, total)
    history: list[_Moment] = []
    while not done.all():
        active = np.flatnonzero(~done)
        # drawn for the episodes of all processes, so that none depends on their number
        noise = _Noise.draw(noise_rng, config, problem.spec.max_candidates).of(first + active)
        batch = decisions(observation, active, network.uses_node_state, device)
        chosen, log_probs, values = _sample(network, batch, encoding, graph_of_row, active, noise)
        actions = np.full(rows, -1, dtype=np.int64)
        actions[active] = chosen
        if expert is not None:
            chosen = expert.act(problem, state, observation, active, expert_rng)
            follows = noise.follow < EXPERT_SHARE
            actions[active[follows]] = chosen[follows]
        problem.step(state, observation, actions, rewards, done)
        earned = rewards.copy()
        steps += len(active) + step_forced(problem, state, observation, done, earned)
        total += earned
        history.append(_Moment(batch, active, chosen, log_probs, values, earned[active]))
    taken = sum(len(moment.rows) for moment in history)
    sums = torch.tensor([steps, total.sum(), taken], dtype=torch.float64)
    all_steps, all_returns, all_taken = processes.sum(sums).tolist()
    if not all_taken:
        raise UsageError("the instances drawn leave no decision to learn from: draw larger ones")
    if not taken:  # others have some
        history.append(_Moment.empty(problem.spec, network.uses_node_state, device))
    advantages, returns = _advantages(history, rows, config, value_scale)
    if config.center:
        _center(advantages, history, config)
    totals = np.zeros(config.instances * config.replicas)
    totals[first : first + rows] = total
    local = np.concatenate([moment.rows for moment in history])
    counts = [len(moment.rows) for moment in history]
    return Experience(
        _concatenate([moment.batch for moment in history]),
        graph_of_row[torch.from_numpy(local).to(device)],
        _joined([moment.actions for moment in history], device),
        _joined([moment.log_probs for moment in history], device),
        _joined(advantages, device),
        _joined(returns, device),
        graph,
        np.repeat(np.arange(len(history)), counts),
        first + local,
        totals,
        int(all_steps),
        all_returns / len(totals),
    )


class _Noise(NamedTuple):
    """What chance adds at one moment, for some episodes."""

    exponential: NDArray[np.float32]  # (rows, A)
    follow: NDArray[np.float32]  # (rows,) uniform: below the expert's share, the expert decides

    @classmethod
    def draw(cls, rng: np.random.Generator, config: PPOConfig, candidates: int) -> "_Noise":
        """For all episodes of an iteration."""
        rows = config.instances * config.replicas
        exponential = rng.standard_exponential((rows, candidates), dtype=np.float32)
        return cls(exponential, rng.random(rows, dtype=np.float32))

    def of(self, rows: NDArray[np.int64]) -> "_Noise":
        """Of some of the episodes."""
        return _Noise(self.exponential[rows], self.follow[rows])


class _Moment(NamedTuple):
    """One decision in every row that had one."""

    batch: Decisions
    rows: NDArray[np.int64]
    actions: NDArray[np.int64]
    log_probs: NDArray[np.float32]
    values: NDArray[np.float32]  # in units of the value scale
    rewards: NDArray[np.float64]

    @classmethod
    def empty(cls, spec: ObservationSpec, with_node_state: bool, device: torch.device) -> "_Moment":
        """One in which no row had a decision."""
        roles, state = len(spec.candidate_roles), len(spec.node_state_features)
        batch = Decisions(
            torch.zeros(0, 1, len(spec.candidate_features), device=device),
            torch.zeros(0, 1, roles, dtype=torch.int64, device=device),
            torch.zeros(0, len(spec.global_features), device=device),
            torch.zeros(0, 1, dtype=torch.bool, device=device),
            torch.zeros(0, 1, roles, state, device=device) if with_node_state else None,
        )
        none, reals = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        return cls(batch, none, none, reals, reals, np.zeros(0))


def _encode(
    network: GraphPolicy, observation: Observation, config: PPOConfig, device: torch.device
) -> tuple[Graph | None, Tensor | None]:
    if not network.uses_graph:
        return None, None
    first = np.arange(0, len(observation.nodes), config.replicas)
    graph = Graph.from_observation(observation, first, device)
    with torch.no_grad():
        return graph, network.encode(graph)


def _sample(
    network: GraphPolicy,
    batch: Decisions,
    encoding: Tensor | None,
    graph_of_row: Tensor,
    rows: NDArray[np.int64],
    noise: _Noise,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Actions by the Gumbel-max trick, their log-probabilities, and values."""
    with torch.no_grad():
        index = graph_of_row[torch.from_numpy(rows).to(graph_of_row.device)]
        logits, values = network(batch, encoding, index)
        log_probs = functional.log_softmax(logits, dim=-1).cpu().numpy()
    # an exponential may round to 0, whose logarithm would make an illegal candidate's score NaN
    exponential = np.maximum(noise.exponential[:, : log_probs.shape[1]], np.finfo(np.float32).tiny)
    gumbel = -np.log(exponential)
    actions = (log_probs + gumbel).argmax(axis=1)
    return actions, log_probs[np.arange(len(rows)), actions], values.cpu().numpy()


def _advantages(
    history: list[_Moment], rows: int, config: PPOConfig, value_scale: float
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """GAE(lambda) and lambda-returns for each moment, in units of the value scale."""
    next_value = np.zeros(rows)
    next_advantage = np.zeros(rows)
    advantages, returns = [], []
    for moment in reversed(history):
        at = moment.rows
        reward = moment.rewards / value_scale
        delta = reward + config.discount * next_value[at] - moment.values
        advantage = delta + config.discount * config.gae_lambda * next_advantage[at]
        next_value[at], next_advantage[at] = moment.values, advantage
        advantages.append(advantage.astype(np.float32))
        returns.append((advantage + moment.values).astype(np.float32))
    return advantages[::-1], returns[::-1]


def _center(
    advantages: list[NDArray[np.float32]], history: list[_Moment], config: PPOConfig
) -> None:
    """Subtract a share of each instance's mean advantage, in place."""
    index = np.concatenate([moment.rows for moment in history]) // config.replicas
    values = np.concatenate(advantages)
    count = np.bincount(index, minlength=config.instances)
    mean = np.bincount(index, values, minlength=config.instances) / np.maximum(count, 1)
    for moment, advantage in zip(history, advantages, strict=True):
        advantage -= (config.center * mean[moment.rows // config.replicas]).astype(np.float32)


def _joined(parts: list[NDArray[Any]], device: torch.device) -> Tensor:
    return torch.from_numpy(np.concatenate(parts)).to(device)


def _concatenate(batches: list[Decisions]) -> Decisions:
    """All decisions in one, padded to the largest number of candidates."""
    width = max(batch.action_mask.shape[1] for batch in batches)

    def join(field: str, padding: float, axes: int) -> Tensor:
        parts = []
        for batch in batches:
            part: Tensor = getattr(batch, field)
            missing = width - part.shape[1]
            if missing:
                part = functional.pad(part, (0, 0) * axes + (0, missing), value=padding)
            parts.append(part)
        return torch.cat(parts)

    return Decisions(
        join("candidates", 0, 1),
        join("candidate_nodes", -1, 1),
        torch.cat([batch.globals for batch in batches]),
        join("action_mask", 0, 0),
        None if batches[0].node_state is None else join("node_state", 0, 2),
    )


def select(batch: Decisions, index: Tensor) -> Decisions:
    """The decisions at ``index``, cut to the candidates that exist among them."""
    nodes = batch.candidate_nodes[index]
    used = int((nodes[:, :, 0] >= 0).any(dim=0).nonzero()[-1]) + 1 if len(index) else 0
    state = batch.node_state
    return Decisions(
        batch.candidates[index, :used],
        nodes[:, :used],
        batch.globals[index],
        batch.action_mask[index, :used],
        None if state is None else state[index, :used],
    )


def update(
    network: GraphPolicy,
    optimizer: torch.optim.Optimizer,
    experience: Experience,
    config: PPOConfig,
    rng: np.random.Generator,
    imitate: bool = False,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Clipped policy-gradient (or imitation) and value updates; returns mean losses."""
    own = _own_decisions(experience, processes)
    advantages = _normalized(experience.advantages, processes)
    device = advantages.device
    sums: dict[str, float] = {}
    count = 0
    for _ in range(config.epochs):
        order = rng.permutation(len(own))
        for first in range(0, len(order), config.minibatch):
            minibatch = own[order[first : first + config.minibatch]]
            index = torch.from_numpy(minibatch[minibatch >= 0]).to(device)
            share = len(index) / len(minibatch)
            optimizer.zero_grad(set_to_none=True)
            if share:
                losses = _losses(network, experience, advantages, index, config, imitate)
                losses["loss"].backward()
                for key, value in losses.items():
                    sums[key] = sums.get(key, 0.0) + share * float(value.detach())
            processes.sum_gradients(network.parameters(), share)
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
            optimizer.step()
            count += 1
    parts = processes.gather(sums)
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) / count for name in names}


def _own_decisions(experience: Experience, processes: Processes) -> NDArray[np.int64]:
    """For each decision of all processes, in order of time and then row: its index here, or -1."""
    parts = processes.gather((experience.moments, experience.rows))
    moments, rows = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    index = np.full(len(rows), -1)
    before = sum(len(part[0]) for part in parts[: processes.rank])
    index[before : before + len(experience.rows)] = np.arange(len(experience.rows))
    return index[np.lexsort((rows, moments))]


def _normalized(values: Tensor, processes: Processes) -> Tensor:
    """Shifted and scaled to mean 0 and standard deviation 1 over all processes."""
    wide = values.double()
    sums = torch.stack([wide.new_tensor(len(wide)), wide.sum(), (wide * wide).sum()])
    count, total, squares = processes.sum(sums)
    mean = total / count
    variance = (squares - count * mean * mean) / (count - 1).clamp(min=1)
    deviation = variance.clamp(min=0).sqrt()
    normalized: Tensor = (wide - mean) / (deviation + 1e-8)
    return normalized.float()


def _losses(
    network: GraphPolicy,
    experience: Experience,
    advantages: Tensor,
    index: Tensor,
    config: PPOConfig,
    imitate: bool,
) -> dict[str, Tensor]:
    encoding = None if experience.graph is None else network.encode(experience.graph)
    batch = select(experience.decisions, index)
    logits, values = network(batch, encoding, experience.graph_index[index])
    log_probs = functional.log_softmax(logits, dim=-1)
    chosen = log_probs.gather(1, experience.actions[index, None]).squeeze(1)
    if imitate:
        policy_loss = -chosen.mean()
        agreement = (logits.argmax(dim=1) == experience.actions[index]).float().mean()
        figures = {"agreement": agreement}
    else:
        log_ratio = chosen - experience.log_probs[index]
        ratio = log_ratio.exp()
        advantage = advantages[index]
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        policy_loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
        figures = {
            "kl": (ratio - 1 - log_ratio).mean(),
            "clipped": ((ratio - 1).abs() > config.clip).float().mean(),
        }
    value_loss = functional.mse_loss(values, experience.returns[index])
    probs = log_probs.exp()
    entropy = -(probs * log_probs.masked_fill(~batch.action_mask, 0)).sum(dim=1).mean()
    return {
        "loss": policy_loss + config.value * value_loss - config.entropy * entropy,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        **figures,
    }
