"""The candidate-scoring policy that serves every problem.

A candidate becomes a token: its own features, the embeddings of the nodes it touches, and the state
of the whole. Tokens attend to each other; each gets a score, the set gets a value. Nothing depends
on the number of candidates or nodes, so one network serves instances of all sizes.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.observation import ObservationSpec
from makespan.models.encoder import CONVOLUTIONS, Graph, GraphEncoder

#: Most layers, and heads, of a network: a file may ask for any number.
MAX_LAYERS = 64
ENCODERS = ("none", "tokens", *CONVOLUTIONS)


@dataclass(frozen=True)
class PolicyConfig:
    """Shape of the network.

    Attributes:
        encoder: ``"none"`` (candidate features only), ``"tokens"`` (plus the features and state of
            the touched nodes, no message passing: light on a CPU), or a convolution over the graph.
        hidden: width, a multiple of ``heads`` and of 4.
        heads: attention heads among candidates.
        attention_layers: layers of attention among candidates.
        encoder_layers: message-passing layers.
    """

    encoder: str = "none"
    hidden: int = 64
    heads: int = 4
    attention_layers: int = 1
    encoder_layers: int = 3

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise UnknownNameError("encoder", self.encoder, ENCODERS)
        for field in ("heads", "attention_layers", "encoder_layers"):
            if not 1 <= getattr(self, field) <= MAX_LAYERS:
                raise UsageError(
                    f"{field}: found {getattr(self, field)}, expected 1 to {MAX_LAYERS}"
                )
        if self.hidden < 4 or self.hidden % self.heads or self.hidden % 4:
            raise UsageError(
                f"hidden: found {self.hidden}, expected a multiple of 4 and of heads ({self.heads})"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return asdict(self)


class Decisions(NamedTuple):
    """What changes from step to step, for D decisions (shapes as in Observation)."""

    candidates: Tensor  # (D, A, C) float32
    candidate_nodes: Tensor  # (D, A, R) int64, -1 for none
    globals: Tensor  # (D, H) float32
    action_mask: Tensor  # (D, A) bool
    node_state: Tensor | None  # (D, A, R, S) float32 of the touched nodes, for encoder "tokens"


def squash(x: Tensor) -> Tensor:
    """``sign(x) log(1 + |x|)``: near the identity for small values, tame for large ones."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


class _Attention(nn.Module):
    """Pre-norm multi-head attention of queries to the tokens of their decision, then an MLP.

    Tokens and queries are ragged, so only real ones are computed: they come as flat lists with
    their places (decision, slot) in the padded arrays that the attention itself needs.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(hidden, 2 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, 2 * hidden),
            nn.GELU(),
            nn.Linear(2 * hidden, hidden),
        )

    def forward(self, x: Tensor, tokens: "_Places", queries: "_Places", bias: Tensor) -> Tensor:
        """New embeddings of the queries.

        Args:
            x: (tokens, hidden).
            tokens, queries: places of the tokens and queries; ``queries.source`` indexes tokens.
            bias: (D, 1, 1, token slots) added to the attention scores.
        """
        normed = self.norm(x)
        key, value = tokens.pad(self.key_value(normed), 2 * self.heads).chunk(2, dim=1)
        query = queries.pad(self.query(normed[queries.source]), self.heads)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y = x[queries.source] + self.out(queries.unpad(mixed))
        return y + self.feed_forward(y)  # type: ignore[no-any-return]


class _Places(NamedTuple):
    """Where the rows of a flat list belong in a padded array (D, slots)."""

    decisions: int
    slots: int
    place: Tensor  # (rows,) int64, decision * slots + slot
    source: Tensor  # (rows,) int64, the token of each row

    def pad(self, rows: Tensor, heads: int) -> Tensor:
        """(rows, heads * width) to (D, heads, slots, width), zero where there is no row."""
        padded = rows.new_zeros(self.decisions * self.slots, rows.shape[1])
        padded = padded.index_copy(0, self.place, rows)
        return padded.view(self.decisions, self.slots, heads, -1).transpose(1, 2)

    def unpad(self, padded: Tensor) -> Tensor:
        """The inverse of :meth:`pad`."""
        flat = padded.transpose(1, 2).reshape(self.decisions * self.slots, -1)
        return flat[self.place]


class GraphPolicy(nn.Module):
    """Actor and critic over the candidates of any problem.

    Args:
        spec: of the problem; only the names of features, types and roles matter, not the sizes.
        config: shape of the network.
    """

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        hidden, roles = config.hidden, len(spec.candidate_roles)
        self.candidate_input = nn.Linear(len(spec.candidate_features), hidden)
        self.global_input = nn.Linear(len(spec.global_features), hidden)
        self.encoder: GraphEncoder | None = None
        if config.encoder in CONVOLUTIONS:
            self.encoder = GraphEncoder(spec, config.encoder, hidden, config.encoder_layers)
            self.node_input = nn.Linear(hidden, roles * hidden, bias=False)
        elif config.encoder == "tokens":
            self.node_input = nn.Linear(len(spec.node_features), roles * hidden, bias=False)
            self.state_input = nn.Linear(roles * len(spec.node_state_features), hidden)
        if config.encoder != "none":
            # the policy starts from the candidate features alone and learns what the graph adds
            nn.init.zeros_(self.node_input.weight)
        self.token = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
        )
        self.attention = nn.ModuleList(
            _Attention(hidden, config.heads) for _ in range(config.attention_layers)
        )
        self.actor = _head(hidden)
        self.critic = _head(hidden)
        self.whole = nn.Parameter(torch.zeros(hidden))

    @property
    def uses_graph(self) -> bool:
        """Whether :meth:`encode` needs the graph."""
        return self.config.encoder != "none"

    @property
    def uses_node_state(self) -> bool:
        """Whether decisions must carry the state of the touched nodes."""
        return self.config.encoder == "tokens"

    def encode(self, graph: Graph) -> Tensor | None:
        """What decisions need of the static graph: (G, N, roles * hidden), or None."""
        if self.encoder is not None:
            return self.node_input(self.encoder(graph))  # type: ignore[no-any-return]
        if self.config.encoder == "tokens":
            return self.node_input(graph.nodes)  # type: ignore[no-any-return]
        return None

    def forward(
        self, decisions: Decisions, encoding: Tensor | None, graph_index: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Scores and values.

        Args:
            decisions: D of them.
            encoding: from :meth:`encode`.
            graph_index: (D,) int64, which graph of the encoding each decision belongs to.

        Returns:
            logits (D, A), -inf where illegal, and values (D,).
        """
        size, width = decisions.action_mask.shape
        exists = decisions.candidate_nodes[:, :, 0] >= 0
        decision, slot = exists.nonzero(as_tuple=True)
        whole = self.global_input(squash(decisions.globals))
        x = self.candidate_input(squash(decisions.candidates[decision, slot])) + whole[decision]
        if encoding is not None and graph_index is not None:
            nodes = decisions.candidate_nodes[decision, slot]
            x = x + _touched(nodes, encoding, graph_index[decision])
        if decisions.node_state is not None:
            x = x + self.state_input(decisions.node_state[decision, slot].flatten(1))
        x = x + self.token(x)
        # the state of the whole is one more token, in the last slot; its embedding gives the value
        x = torch.cat([x, whole + self.whole])
        everything = torch.arange(size, device=x.device)
        index = torch.cat([decision * (width + 1) + slot, everything * (width + 1) + width])
        tokens = _Places(size, width + 1, index, torch.arange(len(x), device=x.device))
        padding = functional.pad(~exists, (0, 1))
        bias = x.new_zeros(padding.shape).masked_fill(padding, -1e9)[:, None, None, :]
        for layer in self.attention[:-1]:
            x = layer(x, tokens, tokens, bias)
        legal = decisions.action_mask[decision, slot]
        queries = _queries(decisions.action_mask, legal.nonzero().squeeze(1), len(decision))
        x = self.attention[-1](x, tokens, queries, bias)
        logits = x.new_full((size, width), -torch.inf)
        scores = self.actor(x[:-size]).squeeze(-1)
        logits = logits.masked_scatter(decisions.action_mask, scores)
        return logits, self.critic(x[-size:]).squeeze(-1)


def _head(hidden: int) -> nn.Sequential:
    """One number per token, close to zero at the start."""
    last = nn.Linear(hidden, 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), last)


def _queries(mask: Tensor, legal: Tensor, tokens: int) -> _Places:
    """Places of the legal candidates, then of the state of the whole, among the queries.

    Args:
        mask: (D, A) bool.
        legal: which tokens are legal candidates.
        tokens: number of candidate tokens; the tokens of the whole follow them.
    """
    size = len(mask)
    rank = mask.cumsum(dim=1)
    slots = int(rank[:, -1].max()) + 1
    everything = torch.arange(size, device=mask.device)
    index = (everything[:, None] * slots + rank)[mask]
    return _Places(
        size,
        slots,
        torch.cat([index, everything * slots]),
        torch.cat([legal, everything + tokens]),
    )


def _touched(nodes: Tensor, encoding: Tensor, graph_index: Tensor) -> Tensor:
    """Sum over roles of the embeddings of the nodes that each token touches, (tokens, hidden).

    Args:
        nodes: (tokens, R) node of each role, -1 for none.
        encoding: (G, N, R * hidden).
        graph_index: (tokens,) graph of each token.
    """
    roles, size = nodes.shape[1], encoding.shape[1]
    table = encoding.reshape(len(encoding) * size * roles, -1)
    row = (graph_index[:, None] * size + nodes.clamp(min=0)) * roles
    row = row + torch.arange(roles, device=nodes.device)
    # one zero row at the end stands for "no node"
    row = torch.where(nodes >= 0, row, len(table))
    table = torch.cat([table, table.new_zeros(1, table.shape[1])])
    return functional.embedding_bag(row, table, mode="sum")
