"""Encoders of the static graph: node features to node embeddings, once per episode.

Message passing is PyTorch Geometric's; edges are used in both directions, each direction of each
edge type with its own learned vector.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.observation import Observation, ObservationSpec


class Graph(NamedTuple):
    """The static part of G observations as tensors (shapes as in Observation)."""

    nodes: Tensor  # (G, N, F) float32
    node_type: Tensor  # (G, N) int64, -1 is padding
    edges: Tensor  # (G, 2, E) int64
    edge_type: Tensor  # (G, E) int64, -1 is padding
    edge_features: Tensor  # (G, E, K) float32

    @classmethod
    def from_observation(
        cls, observation: Observation, rows: np.ndarray, device: torch.device
    ) -> "Graph":
        """The graphs of the given rows, copied to ``device``; trailing padding edges are cut."""
        edge_type = observation.edge_type[rows]
        used = int((edge_type >= 0).sum(axis=1).max(initial=0))
        return cls(
            torch.from_numpy(observation.nodes[rows]).to(device),
            torch.from_numpy(observation.node_type[rows]).to(device, torch.int64),
            torch.from_numpy(observation.edges[rows][:, :, :used]).to(device, torch.int64),
            torch.from_numpy(edge_type[:, :used]).to(device, torch.int64),
            torch.from_numpy(observation.edge_features[rows][:, :used]).to(device),
        )


def _gatv2(hidden: int) -> Any:
    from torch_geometric.nn import GATv2Conv

    return GATv2Conv(hidden, hidden // 4, heads=4, edge_dim=hidden, add_self_loops=False)


def _gine(hidden: int) -> Any:
    from torch_geometric.nn import GINEConv

    return GINEConv(nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden)))


def _transformer(hidden: int) -> Any:
    from torch_geometric.nn import TransformerConv

    return TransformerConv(hidden, hidden // 4, heads=4, edge_dim=hidden)


#: Convolutions by name: Brody et al. 2022 (GATv2), Hu et al. 2020 (GINE), Shi et al. 2021.
CONVOLUTIONS: dict[str, Callable[[int], Any]] = {
    "gatv2": _gatv2,
    "gine": _gine,
    "transformer": _transformer,
}


class _Layer(nn.Module):
    """Convolution and position-wise network, each with a residual connection."""

    def __init__(self, hidden: int, convolution: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.convolution = CONVOLUTIONS[convolution](hidden)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, 2 * hidden),
            nn.GELU(),
            nn.Linear(2 * hidden, hidden),
        )

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        x = x + self.convolution(self.norm(x), edge_index, edge_attr)
        return x + self.feed_forward(x)  # type: ignore[no-any-return]


class GraphEncoder(nn.Module):
    """Embeds the nodes of a batch of graphs.

    Args:
        spec: names the features and types.
        convolution: a key of :data:`CONVOLUTIONS`.
        hidden: width of the embeddings, a multiple of 4.
        layers: number of message-passing layers.

    Raises:
        UnknownNameError: for an unknown convolution.
    """

    def __init__(self, spec: ObservationSpec, convolution: str, hidden: int, layers: int) -> None:
        super().__init__()
        if convolution not in CONVOLUTIONS:
            raise UnknownNameError("convolution", convolution, CONVOLUTIONS)
        self.num_edge_types = len(spec.edge_types)
        self.node_input = nn.Linear(len(spec.node_features), hidden)
        self.node_type = nn.Embedding(len(spec.node_types), hidden)
        self.edge_input = nn.Linear(len(spec.edge_features), hidden)
        self.edge_type = nn.Embedding(2 * self.num_edge_types, hidden)
        self.layers = nn.ModuleList(_Layer(hidden, convolution) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)

    def forward(self, graph: Graph) -> Tensor:
        """Embeddings (G, N, hidden); those of padding nodes mean nothing."""
        batch, nodes = graph.node_type.shape
        x = self.node_input(graph.nodes) + self.node_type(graph.node_type.clamp(min=0))
        x = x.flatten(0, 1)
        edge_index, edge_attr = self._edges(graph, nodes)
        for layer in self.layers:
            x = layer(x, edge_index, edge_attr)
        return self.norm(x).view(batch, nodes, -1)  # type: ignore[no-any-return]

    def _edges(self, graph: Graph, nodes: int) -> tuple[Tensor, Tensor]:
        """Edges of all graphs in one numbering, both directions, with their learned features."""
        used = graph.edge_type >= 0
        offset = torch.arange(len(graph.edges), device=used.device)[:, None, None] * nodes
        forward = (graph.edges + offset).transpose(0, 1)[:, used]
        types = graph.edge_type[used]
        features = self.edge_input(graph.edge_features[used])
        return (
            torch.cat([forward, forward.flip(0)], dim=1),
            torch.cat(
                [
                    features + self.edge_type(types),
                    features + self.edge_type(types + self.num_edge_types),
                ]
            ),
        )
