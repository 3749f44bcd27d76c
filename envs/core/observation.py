"""The observation that every problem shares: a typed graph, its candidates, and a mask."""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import NamedTuple, Self

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

#: Bound of every float in an observation. Features are in units of the instance (mean duration,
#: capacity, ...), so a value this large means more than a million operations.
FEATURE_BOUND = 1e6

#: Keys left by ``observation="candidates"``: what a policy without a graph encoder needs.
CANDIDATE_KEYS = ("candidates", "globals", "action_mask")


class Observation(NamedTuple):
    """The arrays of a batch of observations, each with a leading batch axis B.

    Padding is -1 in integer arrays and 0 in float arrays.
    """

    nodes: NDArray[np.float32]  # (B, N, F) features that stay the same during an episode
    node_state: NDArray[np.float32]  # (B, N, S) features that change
    node_type: NDArray[np.int8]  # (B, N) index into the problem's node types
    edges: NDArray[np.int32]  # (B, 2, E) source and target node
    edge_type: NDArray[np.int8]  # (B, E) index into the problem's edge types
    edge_features: NDArray[np.float32]  # (B, E, G)
    candidates: NDArray[np.float32]  # (B, A, C) features of each possible decision
    candidate_nodes: NDArray[np.int32]  # (B, A, R) nodes that a decision touches
    globals: NDArray[np.float32]  # (B, H) state of the whole
    action_mask: NDArray[np.int8]  # (B, A) 1 where the decision is legal


@dataclass(frozen=True)
class ObservationSpec:
    """Sizes of an observation and the names of everything in it.

    Attributes:
        max_nodes: N, padded number of nodes.
        max_edges: E, padded number of edges.
        max_candidates: A, padded number of candidates; the number of actions.
        node_types, edge_types: names; ``node_type`` and ``edge_type`` index them.
        node_features: names of the F features of a node that stay the same during an episode.
        node_state_features: names of the S features that change.
        edge_features: names of the G features of an edge.
        candidate_features: names of the C features of a candidate.
        candidate_roles: names of the R nodes that a candidate touches.
        global_features: names of the H features of the whole.
        static_keys: keys that do not change within an episode (encode them once).
    """

    max_nodes: int
    max_edges: int
    max_candidates: int
    node_types: tuple[str, ...]
    edge_types: tuple[str, ...]
    node_features: tuple[str, ...]
    node_state_features: tuple[str, ...]
    edge_features: tuple[str, ...]
    candidate_features: tuple[str, ...]
    candidate_roles: tuple[str, ...]
    global_features: tuple[str, ...]
    static_keys: tuple[str, ...] = ("nodes", "node_type", "edges", "edge_type", "edge_features")

    @classmethod
    def of_kernel(
        cls,
        kernel: ModuleType,
        *,
        max_nodes: int,
        max_edges: int,
        max_candidates: int,
        more_features: tuple[str, ...] = (),
    ) -> Self:
        """With the names that the kernel's module has, and ``more_features`` of candidates."""
        return cls(
            max_nodes,
            max_edges,
            max_candidates,
            node_types=kernel.NODE_TYPES,
            edge_types=kernel.EDGE_TYPES,
            node_features=kernel.NODE_FEATURES,
            node_state_features=kernel.NODE_STATE_FEATURES,
            edge_features=kernel.EDGE_FEATURES,
            candidate_features=kernel.CANDIDATE_FEATURES + more_features,
            candidate_roles=kernel.CANDIDATE_ROLES,
            global_features=kernel.GLOBAL_FEATURES,
        )

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each key, without the batch axis."""
        return {
            "nodes": (self.max_nodes, len(self.node_features)),
            "node_state": (self.max_nodes, len(self.node_state_features)),
            "node_type": (self.max_nodes,),
            "edges": (2, self.max_edges),
            "edge_type": (self.max_edges,),
            "edge_features": (self.max_edges, len(self.edge_features)),
            "candidates": (self.max_candidates, len(self.candidate_features)),
            "candidate_nodes": (self.max_candidates, len(self.candidate_roles)),
            "globals": (len(self.global_features),),
            "action_mask": (self.max_candidates,),
        }

    @cached_property
    def limits(self) -> dict[str, tuple[float, float, type[np.generic]]]:
        """Lowest value, highest value and dtype of each key."""
        number = (-FEATURE_BOUND, FEATURE_BOUND, np.float32)
        return {
            "nodes": number,
            "node_state": number,
            "node_type": (-1, len(self.node_types) - 1, np.int8),
            "edges": (-1, self.max_nodes - 1, np.int32),
            "edge_type": (-1, len(self.edge_types) - 1, np.int8),
            "edge_features": number,
            "candidates": number,
            "candidate_nodes": (-1, self.max_nodes - 1, np.int32),
            "globals": number,
            "action_mask": (0, 1, np.int8),
        }

    def keys(self, observation: str) -> tuple[str, ...]:
        """Keys offered by ``observation="graph"`` (all) or ``"candidates"`` (no static graph)."""
        return Observation._fields if observation == "graph" else CANDIDATE_KEYS

    def space(self, observation: str = "graph") -> spaces.Dict:
        """The Gymnasium space of one observation."""
        return spaces.Dict(
            {
                key: spaces.Box(low, high, self.shapes[key], dtype)
                for key in self.keys(observation)
                for low, high, dtype in [self.limits[key]]
            }
        )

    def allocate(self, batch: int) -> Observation:
        """Arrays for ``batch`` observations, all padding."""
        arrays = {}
        for key, shape in self.shapes.items():
            low, _, dtype = self.limits[key]
            padding = 0 if dtype is np.float32 or key == "action_mask" else low
            arrays[key] = np.full((batch, *shape), padding, dtype=dtype)
        return Observation(**arrays)


def existing_slots(candidate_nodes: NDArray[np.int32]) -> int:
    """How many candidate slots, up to the last that exists in any row, (rows, A, R), are used."""
    return int(np.flatnonzero((candidate_nodes[:, :, 0] >= 0).any(axis=0))[-1]) + 1
