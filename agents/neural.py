"""A trained network as an online policy."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from makespan.agents.actor import CompiledActor
from makespan.envs.core.errors import UsageError
from makespan.envs.core.observation import Observation, existing_slots
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy
from makespan.models.encoder import Graph
from makespan.models.policy import Decisions, GraphPolicy


def decisions(
    observation: Observation, rows: NDArray[np.int64], with_node_state: bool, device: torch.device
) -> Decisions:
    """The changing part of the given rows as tensors, cut to the candidates that exist."""
    nodes = observation.candidate_nodes[rows]
    used = existing_slots(nodes)
    nodes = nodes[:, :used]
    node_state = None
    if with_node_state:
        touched = observation.node_state[rows[:, None, None], nodes]
        node_state = torch.from_numpy(np.where(nodes[..., None] >= 0, touched, 0)).to(device)
    return Decisions(
        torch.from_numpy(observation.candidates[rows, :used]).to(device),
        torch.from_numpy(nodes).to(device, torch.int64),
        torch.from_numpy(observation.globals[rows]).to(device),
        torch.from_numpy(observation.action_mask[rows, :used]).to(device, torch.bool),
        node_state,
    )


class NeuralPolicy(ScorePolicy):
    """Decisions of a :class:`GraphPolicy`, greedy or sampled.

    Args:
        name: for tables.
        network: in evaluation mode, on its device. On a CPU and without a graph encoder its
            weights are copied and scored by :class:`CompiledActor`.
        temperature: see :class:`ScorePolicy`.
        requires: options of the problem that the network was trained with.
    """

    learnt: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        network: GraphPolicy,
        temperature: float | NDArray[np.float64] = 0.0,
        requires: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(name, temperature)
        self.requires = requires
        self.network = network
        self._device = next(network.parameters()).device
        compiles = network.config.encoder == "none" and self._device.type == "cpu"
        self._actor = CompiledActor(network) if compiles else None
        self._encoding: Tensor | None = None
        self._graph_of_row: Tensor | None = None

    def start(self, problem: Problem[Any], state: Any, observation: Observation) -> None:
        """Encode each distinct graph once."""
        super().start(problem, state, observation)
        self._encode(observation)

    def _encode(self, observation: Observation) -> None:
        if not self.network.uses_graph:
            return
        first_rows, graph_of_row = distinct_graphs(observation)
        with torch.inference_mode():
            graph = Graph.from_observation(observation, first_rows, self._device)
            self._encoding = self.network.encode(graph)
        self._graph_of_row = torch.from_numpy(graph_of_row).to(self._device)

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Scores (len(rows), candidates), -inf where illegal."""
        return self._score(observation, rows)

    def _score(self, observation: Observation, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if self._actor is not None:
            return self._actor.scores(observation, rows)
        with torch.inference_mode():
            batch = decisions(observation, rows, self.network.uses_node_state, self._device)
            index = None
            if self._graph_of_row is not None:
                index = self._graph_of_row[torch.from_numpy(rows).to(self._device)]
            logits, _ = self.network(batch, self._encoding, index)
            return logits.float().cpu().numpy()  # type: ignore[no-any-return]

    def decide(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Greedy actions for observations as the environments give them.

        Args:
            observation: of an environment, or of a vector environment, with all keys
                (``observation="graph"``). A finished row (no legal action) gets action 0.

        Returns:
            () int64 for an environment, (num_envs,) for a vector environment.

        Raises:
            UsageError: when keys are missing.
        """
        missing = [key for key in Observation._fields if key not in observation]
        if missing:
            raise UsageError(
                f"observation: found no {missing[0]!r}, expected all keys: make the environment "
                'with observation="graph"'
            )
        single = observation["action_mask"].ndim == 1
        arrays = (np.asarray(observation[key]) for key in Observation._fields)
        batch = Observation(*(array[None] if single else array for array in arrays))
        rows = np.flatnonzero(batch.action_mask.any(axis=1))
        actions = np.zeros(len(batch.action_mask), dtype=np.int64)
        if len(rows):
            self._encode(batch)
            actions[rows] = self._score(batch, rows).argmax(axis=1)
        return actions[0] if single else actions

    @cached_property
    def weights_hash(self) -> str:
        """Of the network's weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """The same network at another temperature."""
        return type(self)(self.name, self.network, temperature, self.requires)


def distinct_graphs(
    observation: Observation,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row of each distinct graph, and for each row the index of its graph."""
    keys: dict[bytes, int] = {}
    rows: list[int] = []
    index = np.empty(len(observation.nodes), dtype=np.int64)
    for row in range(len(index)):
        key = b"".join(getattr(observation, field)[row].tobytes() for field in Graph._fields)
        if key not in keys:
            keys[key] = len(rows)
            rows.append(row)
        index[row] = keys[key]
    return np.asarray(rows, dtype=np.int64), index
