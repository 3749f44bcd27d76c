"""The actor of a policy without graph encoder, compiled: what torch computes, with less around it.

Online, a decision is a few dozen small products, each of which costs torch more in calls than in
arithmetic. Here a decision is one call, whatever the number of its candidates; rows are scored one
after the other, so a batch gives bit for bit what its rows give alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.agents.actor_kernel import score_rows
from makespan.agents.export import folded
from makespan.envs.core.observation import Observation, existing_slots
from makespan.models.policy import GraphPolicy

Floats = NDArray[np.float32]


class Weights(NamedTuple):
    """Matrices to be multiplied from the right, with their biases; see :func:`export.folded`.

    The arrays of a layer are stacked, ``layers`` first. All float32.
    """

    whole: Floats  # (hidden,)
    global_matrix: Floats  # (H, hidden)
    global_bias: Floats
    candidate_matrix: Floats  # (C, hidden)
    candidate_bias: Floats
    token_scale: Floats  # (hidden,)
    token_shift: Floats
    token_matrices: Floats  # (2, hidden, hidden)
    token_biases: Floats
    query_matrix: Floats  # (layers, hidden, hidden)
    query_bias: Floats
    pair_matrix: Floats  # (layers, hidden, 2 hidden): keys, then values
    pair_bias: Floats
    out_matrix: Floats  # (layers, hidden, hidden)
    out_bias: Floats
    wide_matrix: Floats  # (layers, hidden, 2 hidden)
    wide_bias: Floats
    narrow_matrix: Floats  # (layers, 2 hidden, hidden)
    narrow_bias: Floats
    actor_matrix: Floats  # (hidden, hidden)
    actor_bias: Floats
    score_matrix: Floats  # (hidden, 1)
    score_bias: Floats


class CompiledActor:
    """Scores candidates as ``network`` does, to single precision.

    Args:
        network: with encoder ``"none"``; its weights are copied.
    """

    def __init__(self, network: GraphPolicy) -> None:
        self._heads = network.config.heads
        layers = network.config.attention_layers
        arrays = {key: value.double().cpu().numpy() for key, value in network.state_dict().items()}
        w = folded(arrays, layers)

        def stack(*names: str) -> Floats:
            return np.ascontiguousarray(np.stack([w[name] for name in names]))

        def layered(part: str) -> tuple[Floats, Floats]:
            names = [f"attention.{layer}.{part}" for layer in range(layers)]
            return stack(*(f"{n}.matrix" for n in names)), stack(*(f"{n}.bias" for n in names))

        self._weights = Weights(
            w["whole"],
            w["global_input.matrix"],
            w["global_input.bias"],
            w["candidate_input.matrix"],
            w["candidate_input.bias"],
            w["token.scale"],
            w["token.shift"],
            stack("token.first.matrix", "token.second.matrix"),
            stack("token.first.bias", "token.second.bias"),
            *layered("query"),
            *layered("key_value"),
            *layered("out"),
            *layered("first"),
            *layered("second"),
            w["actor.first.matrix"],
            w["actor.first.bias"],
            w["actor.second.matrix"],
            w["actor.second.bias"],
        )

    def scores(self, observation: Observation, rows: NDArray[np.int64]) -> Floats:
        """(len(rows), candidates up to the last that exists) scores, -inf where illegal."""
        used = existing_slots(observation.candidate_nodes[rows])
        out = np.full((len(rows), used), -np.inf, dtype=np.float32)
        score_rows(
            self._weights,
            self._heads,
            observation.candidates,
            observation.candidate_nodes,
            observation.globals,
            observation.action_mask,
            rows,
            out,
        )
        return out
