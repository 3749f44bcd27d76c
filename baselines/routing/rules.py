"""Routing rules: how production gateways and papers choose a replica, with their own constants.

A rule gives every replica a priority; the lowest goes first, ties to the lowest index. Rules see
what the router sees (replicas as last reported, responses as predicted), but for those named
clairvoyant. Except ``central-queue`` none of them holds requests. Sources beside each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from makespan.baselines.rule import NamedRule
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy
from makespan.envs.routing import kernel
from makespan.envs.routing.kernel import DLPM_QUANTUM, OUTPUT_WEIGHT, State


class View(NamedTuple):
    """What rules may use of D decisions and R replicas; tokens and seconds."""

    running: NDArray[np.float64]  # (D, R) requests in the batch
    waiting: NDArray[np.float64]  # (D, R) requests in the queue
    tokens: NDArray[np.float64]  # (D, R) outstanding, responses as predicted
    prompts: NDArray[np.float64]  # (D, R) outstanding prompt tokens, one for each response
    true_tokens: NDArray[np.float64]  # (D, R) outstanding, true responses: clairvoyant
    pending: NDArray[np.float64]  # (D, R) prompt tokens not processed
    used: NDArray[np.float64]  # (D, R) share of the memory in use
    blocks: NDArray[np.float64]  # (D, R) blocks of memory
    head: NDArray[np.float64]  # (D, R) blocks that the first in the queue needs
    cached: NDArray[np.float64]  # (D, R) prefix blocks in the cache
    overlap: NDArray[np.float64]  # (D, R) prompt tokens of the request in the cache
    marginal: NDArray[np.float64]  # (D, R) predicted increase of the sum of latencies
    own: NDArray[np.float64]  # (D, R) predicted latency from now
    first_token: NDArray[np.float64]  # (D, R) predicted time to first token from now
    need: NDArray[np.float64]  # (D, R) blocks of the prompt
    room: NDArray[np.float64]  # (D, R) blocks of the feature "room" of the kernel
    prompt: NDArray[np.float64]  # (D, 1) of the request
    client: NDArray[np.int64]  # (D, 1) of the request
    served: Callable[[], NDArray[np.float64]]  # (D, R) tokens of its client there; it takes a while
    released: NDArray[np.int64]  # (D, 1) decisions of this kind that have sent a request so far
    legal: NDArray[np.bool_]  # (D, R)


def view(state: State, rows: NDArray[np.int64], legal: NDArray[np.bool_]) -> View:
    """What the rules see of ``rows`` (D,); ``legal`` is (D, R)."""
    figures = state.figures[rows]
    request = state.router[rows, kernel.DECISION]
    blocks = np.maximum(figures[:, :, kernel.V_BLOCKS], 1)
    return View(
        running=figures[:, :, kernel.V_RUNNING],
        waiting=figures[:, :, kernel.V_WAITING],
        tokens=figures[:, :, kernel.V_TOKENS],
        prompts=figures[:, :, kernel.V_PROMPTS],
        true_tokens=figures[:, :, kernel.V_TRUE],
        pending=figures[:, :, kernel.V_PENDING],
        used=figures[:, :, kernel.V_USED] / blocks,
        blocks=blocks,
        head=figures[:, :, kernel.V_HEAD],
        cached=figures[:, :, kernel.V_CACHED],
        overlap=figures[:, :, kernel.V_OVERLAP],
        marginal=figures[:, :, kernel.V_MARGINAL],
        own=figures[:, :, kernel.V_OWN],
        first_token=figures[:, :, kernel.V_FIRST],
        need=figures[:, :, kernel.V_NEED],
        room=figures[:, :, kernel.V_ROOM],
        prompt=state.prompt[rows, request, None].astype(np.float64),
        client=state.client[rows, request, None],
        served=partial(_served, state, rows, legal.shape[1]),
        released=_released(state, rows),
        legal=legal,
    )


def _released(state: State, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(D, 1) requests sent so far; where a decode replica is to be chosen, sent to one of those."""
    moves = (state.decoder[rows] >= 0).sum(axis=1)
    moving = state.router[rows, kernel.MOVING] > 0
    released: NDArray[np.int64] = np.where(moving, moves, state.router[rows, kernel.RELEASED])
    return released[:, None]


def _served(state: State, rows: NDArray[np.int64], replicas: int) -> NDArray[np.float64]:
    """(D, R) service of the request's client: new prompt tokens, two for each response token.

    As it is now, whatever the replicas last reported: the responses pass through the router.
    """
    request = state.router[rows, kernel.DECISION]
    mine = state.client[rows] == state.client[rows, request, None]
    cost = state.prompt[rows] - state.cached[rows] + OUTPUT_WEIGHT * state.generated[rows]
    at = state.replica[rows][:, :, None] == np.arange(replicas)  # -1 before the release
    return np.asarray(((mine * cost)[:, :, None] * at).sum(axis=1))


def _requests(v: View) -> NDArray[np.float64]:
    return v.running + v.waiting


def _full(v: View) -> NDArray[np.bool_]:
    """(D, R) whether memory is too short for all prompts there and the request, see ``room``."""
    return np.asarray(v.room < 0)


def _extreme(v: View, values: NDArray[np.float64]) -> tuple[Any, Any]:
    """Smallest and largest value of the legal replicas, (D, 1) each."""
    low = np.where(v.legal, values, np.inf).min(axis=1, keepdims=True)
    high = np.where(v.legal, values, -np.inf).max(axis=1, keepdims=True)
    return low, high


def _round_robin(v: View) -> NDArray[Any]:
    """The legal ones by turns."""
    turn = np.cumsum(v.legal, axis=1) - 1
    count = np.maximum(v.legal.sum(axis=1, keepdims=True), 1)
    return np.asarray((turn - v.released) % count)


def _bin_packing(v: View) -> NDArray[Any]:
    """Best fit: the fullest memory that still takes the prompt, else the emptiest."""
    fits = (1 - v.used) * v.blocks >= v.need
    return np.asarray(np.where(fits, -v.used, 1 + v.used))


def _session(v: View) -> NDArray[Any]:
    """Rendezvous hashing (Thaler and Ravishankar 1998): a replica that leaves moves its keys."""
    key = v.client.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    key = key ^ (
        np.arange(1, v.legal.shape[1] + 1, dtype=np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
    )
    for shift in (30, 27):  # the finaliser of SplitMix64
        key = (key ^ (key >> np.uint64(shift))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((key ^ (key >> np.uint64(31))).astype(np.float64))


def _cache_aware(v: View) -> NDArray[Any]:
    """SGLang router: balance when loads differ by 64 and 1.5 times, else match above 0.3."""
    load = _requests(v)
    low, high = _extreme(v, load)
    imbalanced = (high - low > 64) & (high > 1.5 * low)
    _, match = _extreme(v, v.overlap)
    by_cache = np.where(match / v.prompt > 0.3, -v.overlap, v.cached)
    return np.where(imbalanced, load, by_cache)


def _aibrix(v: View) -> NDArray[Any]:
    """AIBrix prefix-cache: balance when running requests differ by more than 8."""
    low, high = _extreme(v, v.running)
    _, match = _extreme(v, v.overlap)
    matching = np.where(v.overlap == match, 0, 1e6)
    return np.where(high - low > 8, _requests(v), matching + _requests(v))


def _dynamo(v: View) -> NDArray[Any]:
    """NVIDIA Dynamo, older form: 2 overlap - memory - waiting over the largest."""
    _, most = _extreme(v, v.waiting)
    return np.asarray(v.waiting / np.maximum(most, 1) + v.used - 2 * v.overlap / v.prompt)


def _llm_d(v: View) -> NDArray[Any]:
    """llm-d scheduler: scores of prefix 3, queue 2, memory 2."""
    low, high = _extreme(v, v.waiting)
    queue = np.where(high > low, (high - v.waiting) / np.maximum(high - low, 1), 1.0)
    return np.asarray(2 * v.used - 2 * queue - 3 * v.overlap / v.prompt)


def _d2lpm(v: View) -> NDArray[Any]:
    """D2LPM (Cao et al., arXiv 2501.14312): longest prefix where the client has deficit left.

    Each client has a deficit at each replica, raised everywhere by a quantum once none is left
    anywhere; ties go to the replica with fewest requests.
    """
    served = v.served()
    low, _ = _extreme(v, served)
    deficit = DLPM_QUANTUM * (low // DLPM_QUANTUM + 1) - served
    return np.where(deficit > 0, 0, 1e9) - 1e4 * v.overlap / v.prompt + _requests(v)


def _llumnix(v: View) -> NDArray[Any]:
    """Llumnix (Sun et al., OSDI 2024): most freeness (memory - virtual usage) / batch."""
    return -((1 - v.used) * v.blocks - v.head) / np.maximum(v.running, 1)


def _lmetric(v: View) -> NDArray[Any]:
    """LMetric (arXiv 2603.15202): prompt tokens to process there, times the batch."""
    return (v.pending + v.prompt - v.overlap) * (_requests(v) + 1)


#: Priority of each rule, the lowest first.
RULES: dict[str, Callable[[View], NDArray[Any]]] = {
    "round-robin": _round_robin,
    "jsq": _requests,
    "vllm": lambda v: 4 * v.waiting + v.running,  # data-parallel balancer of vLLM
    "least-tokens": lambda v: v.tokens,
    "least-prompts": lambda v: v.prompts,  # response lengths unknown
    "least-tokens-true": lambda v: v.true_tokens,  # clairvoyant
    "max-capacity": lambda v: -(1 - v.used) * v.blocks,  # Jain et al.: most free memory
    "min-memory": lambda v: v.used,
    "min-min": lambda v: v.own,  # earliest predicted completion
    "first-token": lambda v: v.first_token,
    "bin-packing": _bin_packing,
    "session": _session,
    "cache-aware": _cache_aware,
    "aibrix": _aibrix,
    "dynamo": _dynamo,
    "llm-d": _llm_d,
    "d2lpm": _d2lpm,
    "llumnix": _llumnix,
    "lmetric": _lmetric,
    "marginal": lambda v: v.marginal,  # ours: least predicted increase of the sum of latencies
    # the same among replicas that can begin at once; held while there are none
    "central-queue": lambda v: np.where(_full(v), 1e6 + v.marginal, v.marginal),
}


class RulePolicy(NamedRule):
    """A routing rule, see :data:`RULES`."""

    rules = RULES

    def __init__(self, rule: str, temperature: float | NDArray[np.float64] = 0.0) -> None:
        super().__init__(rule, temperature)
        self.sees_future = rule == "least-tokens-true"

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Minus the rank of each candidate, -inf where illegal or held without need."""
        mask = observation.action_mask[rows] > 0
        legal = mask[:, 1:]
        seen = view(state, rows, legal)
        priority = np.where(legal, RULES[self.name](seen), np.inf)
        scores = np.full(mask.shape, -np.inf)
        order = np.argsort(priority, axis=1, kind="stable")
        ranks = np.arange(legal.shape[1], dtype=np.float64)
        np.put_along_axis(scores[:, 1:], order, -ranks[None], axis=1)
        scores[:, 1:][~legal] = -np.inf
        if self.name == "central-queue":
            scores[mask[:, 0] & (_full(seen) | ~legal).all(axis=1), 0] = 1.0
        return scores


class RandomChoices(ScorePolicy):
    """Of ``choices`` replicas drawn at random the one with fewest requests.

    One choice is uniformly random routing, two are the power of two choices (Mitzenmacher 2001).
    Scores are the logarithms of each replica's chance, up to a constant, and drawn from as such.
    """

    def __init__(self, choices: int = 2) -> None:
        name = {1: "random", 2: "power-of-two"}.get(choices, f"power-of-{choices}")
        super().__init__(name, temperature=1.0)
        self.choices = choices

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Of m legal replicas that with k less loaded ones is the best of C(m - 1 - k, c - 1)."""
        mask = observation.action_mask[rows] > 0
        legal = mask[:, 1:]
        load = np.where(legal, _requests(view(state, rows, legal)), np.inf)
        worse = legal.sum(axis=1)[:, None] - 1 - load.argsort(kind="stable").argsort()
        drawn = np.minimum(self.choices, legal.sum(axis=1))[:, None] - 1
        possible = legal & (worse >= drawn)
        ways = gammaln(worse + 1) - gammaln(np.maximum(worse - drawn, 0) + 1)
        scores = np.full(mask.shape, -np.inf)
        scores[:, 1:] = np.where(possible, ways, -np.inf)
        return scores

    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """The same: it is random as it is."""
        return type(self)(self.choices)
