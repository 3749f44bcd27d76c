"""The LLM routing instance: requests, replicas, and the rules of the cluster.

Requests arrive at a router over time. Each has a prompt of known length and a response whose length
is hidden until it ends; the router sees a prediction. A replica runs one copy of the model by
continuous batching (Yu et al., Orca, OSDI 2022) with chunked prefill (Agrawal et al.,
Sarathi-Serve, OSDI 2024) over paged key-value memory (Kwon et al., vLLM, SOSP 2023); see
:mod:`makespan.envs.routing.kernel` for the rules. The goal is the lowest mean end-to-end latency.
Source of the problem: Jain et al., Intelligent Router for LLM Workloads, arXiv 2408.13510.
"""

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InstanceError
from makespan.envs.core.instance import Instance
from makespan.envs.routing.hardware import ENGINE, preset, sustainable_rate

#: What a replica does: everything, prompts only, or responses only (disaggregated pools).
UNIFIED, PREFILL, DECODE = range(3)
ROLES = ("unified", "prefill", "decode")

#: Largest number of tokens of a request, of blocks of a replica, and of requests.
MAX_COUNT = 2**24

#: Shortest interval between reports, in seconds: each is an event of the simulation.
SHORTEST_STALE_S = 1e-3


class Sizes(NamedTuple):
    """What an instance, or the largest of many, takes up."""

    requests: int
    replicas: int
    batch: int  # requests that run at once on a replica
    clients: int
    prefixes: int  # distinct prefix blocks
    references: int  # prefix blocks summed over requests


@dataclass(frozen=True, eq=False)
class RoutingInstance(Instance):
    """A stream of requests and the cluster that serves it; times in seconds.

    Requests are in order of arrival. Arrays of another numeric type, and lists, are converted.

    Attributes:
        arrival: (n,) float64, when the request reaches the router, nondecreasing, at least 0.
        prompt: (n,) int32, tokens of the prompt, at least 1.
        output: (n,) int32, tokens of the response, at least 1; hidden from policies.
        predicted: (n,) int32, what the router believes ``output`` to be, at least 1.
        max_tokens: (n,) int32, the limit of the response that the caller or the model sets, at
            least ``output``; a request may only go where its prompt and this fit into the memory.
        client: (n,) int32, who sent it, from 0; the key of session affinity and of fairness.
        priority: (n,) int32; the higher goes first in the queue of a replica.
        prefix_offsets: (n + 1,) int32; request i has the prefix blocks
            ``prefixes[prefix_offsets[i]:prefix_offsets[i + 1]]``.
        prefixes: int32, identity of each full block of ``prefix_tokens`` prompt tokens together
            with everything before it; the same number means the same text. Empty where unknown.
        kinds: (m,) text, a label of each replica, e.g. the name of its preset.
        engine: (m, 7) float64, see :mod:`makespan.envs.routing.hardware`.
        kv_blocks: (m,) int32, blocks of key-value memory.
        token_budget: (m,) int32, tokens processed by one iteration at most.
        max_batch: (m,) int32, requests that run at once at most.
        role: (m,) int32, index into :data:`ROLES`.
        block_tokens: tokens of a block of key-value memory.
        watermark: share of the blocks kept free when a request is admitted.
        prefix_cache: whether replicas reuse the memory of prefixes they have seen.
        prefix_tokens: tokens of a prefix block, a multiple of ``block_tokens``.
        hold_s: a held request may be sent again after this time.
        max_holds: how often a request may be held; 0 forbids holding.
        delay_s: between the decision and the arrival at the replica.
        stale_s: interval at which replicas report their state, at least :data:`SHORTEST_STALE_S`;
            0: the router sees everything at once. It always knows what it has sent where itself,
            which prefix blocks replicas have cached, and how many tokens each request has had.
        transfer_s: seconds to move the memory of one token from a prefill to a decode replica.
        ttft_slo_s, tpot_slo_s: what a good time to first token and per output token is.

    Raises:
        InstanceError: when any of this is violated; the message names field, index, found,
            expected.
    """

    kind: ClassVar[str] = "llm-routing"

    arrival: NDArray[np.float64]
    prompt: NDArray[np.int32]
    output: NDArray[np.int32]
    predicted: NDArray[np.int32]
    max_tokens: NDArray[np.int32]
    client: NDArray[np.int32]
    priority: NDArray[np.int32]
    prefix_offsets: NDArray[np.int32]
    prefixes: NDArray[np.int32]
    kinds: tuple[str, ...]
    engine: NDArray[np.float64]
    kv_blocks: NDArray[np.int32]
    token_budget: NDArray[np.int32]
    max_batch: NDArray[np.int32]
    role: NDArray[np.int32]
    block_tokens: int = 16
    watermark: float = 0.01
    prefix_cache: bool = False
    prefix_tokens: int = 512
    hold_s: float = 0.25
    max_holds: int = 20
    delay_s: float = 0.0
    stale_s: float = 0.0
    transfer_s: float = 0.0
    ttft_slo_s: float = 2.0
    tpot_slo_s: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InstanceError(f"name: found {reprlib.repr(self.name)}, expected text")
        if not isinstance(self.kinds, Iterable):
            raise InstanceError(f"kinds: found {self.kinds!r}, expected a name for each replica")
        object.__setattr__(self, "kinds", tuple(map(str, self.kinds)))
        for field in ("arrival", "engine"):
            object.__setattr__(self, field, _floats(getattr(self, field), field))
        for field in (*REQUEST_COLUMNS, "prefix_offsets", "prefixes", *_REPLICA_COLUMNS):
            object.__setattr__(self, field, _integers(getattr(self, field), field))
        for field in ("block_tokens", "prefix_tokens", "max_holds", *_SECONDS, "prefix_cache"):
            if np.ndim(getattr(self, field)):
                found = reprlib.repr(getattr(self, field))
                raise InstanceError(f"{field}: found {found}, expected one value")
        for field in ("block_tokens", "prefix_tokens", "max_holds"):
            value = _integers([getattr(self, field)], field)
            object.__setattr__(self, field, int(value[0]))
        for field in _SECONDS:
            object.__setattr__(self, field, float(_floats([getattr(self, field)], field)[0]))
        if not isinstance(self.prefix_cache, bool | np.bool_):
            found = reprlib.repr(self.prefix_cache)
            raise InstanceError(f"prefix_cache: found {found}, expected true or false")
        object.__setattr__(self, "prefix_cache", bool(self.prefix_cache))
        super().__post_init__()

    @classmethod
    def build(
        cls,
        arrival: ArrayLike,
        prompt: ArrayLike,
        output: ArrayLike,
        replicas: "Fleet",
        *,
        predicted: ArrayLike | None = None,
        max_tokens: ArrayLike | int | None = None,
        client: ArrayLike | None = None,
        priority: ArrayLike | None = None,
        prefixes: Sequence[Sequence[int]] | None = None,
        name: str = "routing",
        **options: Any,
    ) -> Self:
        """Build from columns of requests and a fleet.

        Args:
            arrival, prompt, output: (n,) see above.
            replicas: the fleet, e.g. of :meth:`Fleet.of`.
            predicted: (n,) response lengths as the router sees them; the true ones when None.
            max_tokens: (n,), or one limit for all, which is lowered where prompt and limit exceed
                the memory of the smallest replica that takes every request; None: the longest
                response is the limit.
            client, priority: (n,); zeros when None.
            prefixes: for each request the ids of its prefix blocks; none when None.
            name: a label.
            options: further fields, e.g. ``prefix_cache=True``.
        """
        count = len(np.asarray(arrival))
        lists = [[] for _ in range(count)] if prefixes is None else prefixes
        nothing = np.zeros(count, dtype=np.int32)
        if max_tokens is None or np.ndim(max_tokens) == 0:
            max_tokens = _limits(max_tokens, prompt, output, replicas, options)
        return cls(
            name=name,
            arrival=np.asarray(arrival),
            prompt=np.asarray(prompt),
            output=np.asarray(output),
            predicted=np.asarray(output if predicted is None else predicted),
            max_tokens=np.asarray(max_tokens),
            client=nothing if client is None else np.asarray(client),
            priority=nothing if priority is None else np.asarray(priority),
            prefix_offsets=np.concatenate([[0], np.cumsum([len(ids) for ids in lists])]),
            prefixes=np.array([i for ids in lists for i in ids], dtype=np.int64),
            **replicas._asdict(),
            **options,
        )

    def check(self) -> None:
        """Raise InstanceError naming field, index, found and expected."""
        self._check_lengths()
        for field, low in (("prompt", 1), ("output", 1), ("predicted", 1), ("client", 0)):
            _check_range(field, getattr(self, field), low, MAX_COUNT)
        short = np.flatnonzero(self.max_tokens < self.output)
        if len(short):
            i = int(short[0])
            raise InstanceError(
                f"max_tokens[{i}]: found {self.max_tokens[i]}, expected at least the response of "
                f"{self.output[i]} tokens"
            )
        _check_range("priority", self.priority, -MAX_COUNT, MAX_COUNT)
        for field, low in (("kv_blocks", 1), ("token_budget", 1), ("max_batch", 1)):
            _check_range(field, getattr(self, field), low, MAX_COUNT)
        _check_range("role", self.role, 0, len(ROLES) - 1)
        _check_range("prefixes", self.prefixes, 0, MAX_COUNT)
        self._check_arrivals()
        self._check_replicas()
        self._check_options()
        self._check_memory()

    def _check_lengths(self) -> None:
        if self.arrival.ndim != 1:
            raise InstanceError(
                f"arrival: found the shape {self.arrival.shape}, expected a vector of times"
            )
        count, replicas = len(self.arrival), len(self.kinds)
        if not count or not replicas:
            raise InstanceError(
                f"found {count} requests and {replicas} replicas, expected at least one of each"
            )
        for field in REQUEST_COLUMNS:
            if getattr(self, field).shape != (count,):
                shape = getattr(self, field).shape
                raise InstanceError(f"{field}: found the shape {shape}, expected ({count},)")
        if self.engine.shape != (replicas, len(ENGINE)):
            raise InstanceError(
                f"engine: found the shape {self.engine.shape}, expected ({replicas}, {len(ENGINE)})"
            )
        for field in _REPLICA_COLUMNS:
            if getattr(self, field).shape != (replicas,):
                shape = getattr(self, field).shape
                raise InstanceError(f"{field}: found the shape {shape}, expected ({replicas},)")
        offsets = self.prefix_offsets
        if (
            offsets.shape != (count + 1,)
            or offsets[0] != 0
            or (np.diff(offsets) < 0).any()
            or offsets[-1] != len(self.prefixes)
        ):
            raise InstanceError(
                f"prefix_offsets: expected {count + 1} nondecreasing numbers from 0 to "
                f"{len(self.prefixes)}, the length of prefixes"
            )
        full = self.prompt // max(self.prefix_tokens, 1)
        long = np.flatnonzero(np.diff(offsets) > full)
        if len(long):
            i = int(long[0])
            raise InstanceError(
                f"prefixes: request {i} has {int(np.diff(offsets)[i])} blocks, expected at most "
                f"{int(full[i])}, the full blocks of {self.prefix_tokens} tokens in its prompt"
            )

    def _check_arrivals(self) -> None:
        if self.arrival[0] < 0:
            raise InstanceError(f"arrival[0]: found {self.arrival[0]}, expected at least 0")
        back = np.flatnonzero(np.diff(self.arrival) < 0)
        if len(back):
            i = int(back[0]) + 1
            raise InstanceError(
                f"arrival[{i}]: found {self.arrival[i]} after {self.arrival[i - 1]}, expected "
                "times that do not go back"
            )

    def _check_replicas(self) -> None:
        for column, what in enumerate(ENGINE):
            bad = np.flatnonzero(self.engine[:, column] < 0)
            if len(bad):
                raise InstanceError(
                    f"engine[{bad[0]}], {what}: found {self.engine[bad[0], column]}, expected at "
                    "least 0"
                )
        idle = np.flatnonzero(self.engine[:, 0] <= 0)
        if len(idle):
            raise InstanceError(
                f"engine[{idle[0]}], base: found {self.engine[idle[0], 0]}, expected more than 0: "
                "every iteration takes time"
            )
        small = np.flatnonzero(self.token_budget < self.max_batch)
        if len(small):
            r = int(small[0])
            raise InstanceError(
                f"token_budget[{r}]: found {self.token_budget[r]}, expected at least max_batch, "
                f"{self.max_batch[r]}: every running request needs a token an iteration"
            )
        has_prefill, has_decode = (self.role == PREFILL).any(), (self.role == DECODE).any()
        if has_prefill != has_decode and not (self.role == UNIFIED).any():
            raise InstanceError("role: found prefill or decode replicas alone, expected both")
        if has_prefill and not (self.role != PREFILL).any():
            raise InstanceError("role: found no replica that decodes")
        if not (self.role != DECODE).any():
            raise InstanceError("role: found no replica that takes prompts")

    def _check_options(self) -> None:
        if self.block_tokens < 1 or self.prefix_tokens < 1:
            raise InstanceError("block_tokens, prefix_tokens: expected at least 1")
        if self.prefix_tokens % self.block_tokens:
            raise InstanceError(
                f"prefix_tokens: found {self.prefix_tokens}, expected a multiple of block_tokens, "
                f"{self.block_tokens}"
            )
        if not 0 <= self.watermark < 1:
            raise InstanceError(f"watermark: found {self.watermark}, expected 0 to below 1")
        for field in _SECONDS:
            if getattr(self, field) < 0:
                raise InstanceError(f"{field}: found {getattr(self, field)}, expected at least 0")
        if 0 < self.stale_s < SHORTEST_STALE_S:
            raise InstanceError(
                f"stale_s: found {self.stale_s}, expected 0 or at least {SHORTEST_STALE_S}"
            )
        if self.max_holds < 0 or (self.max_holds and self.hold_s <= 0):
            raise InstanceError(
                f"max_holds, hold_s: found {self.max_holds} and {self.hold_s}, expected at least 0 "
                "and, with holding, more than 0"
            )

    def _check_memory(self) -> None:
        for roles in ((UNIFIED, PREFILL), (UNIFIED, DECODE)):
            able = np.isin(self.role, roles)
            usable = int((self.kv_blocks - self.watermark_blocks)[able].max(initial=0))
            blocks = -(-(self.prompt.astype(np.int64) + self.max_tokens) // self.block_tokens)
            large = np.flatnonzero(blocks > usable)
            if len(large):
                i = int(large[0])
                raise InstanceError(
                    f"request {i}: its prompt of {self.prompt[i]} and response of at most "
                    f"{self.max_tokens[i]} tokens need {blocks[i]} blocks, the largest replica has "
                    f"{usable} above its watermark; leave the request out or give replicas more "
                    "memory"
                )

    @property
    def num_requests(self) -> int:
        """Number of requests, n."""
        return len(self.arrival)

    @property
    def num_replicas(self) -> int:
        """Number of replicas, m."""
        return len(self.kinds)

    @property
    def watermark_blocks(self) -> NDArray[np.int64]:
        """(m,) blocks kept free when a request is admitted."""
        return np.asarray(np.floor(self.watermark * self.kv_blocks), dtype=np.int64)

    @cached_property
    def sizes(self) -> Sizes:
        """What the instance takes up."""
        return Sizes(
            self.num_requests,
            self.num_replicas,
            int(self.max_batch.max()),
            int(self.client.max()) + 1,
            int(self.prefixes.max(initial=-1)) + 1,
            len(self.prefixes),
        )

    @property
    def size(self) -> str:
        """What tables group instances by: the number of replicas, and of kinds when several."""
        kinds = len(set(self.kinds))
        return f"{self.num_replicas} replicas" + (f", {kinds} kinds" if kinds > 1 else "")

    @property
    def offered_load(self) -> float:
        """Arrival rate over the rate that the fleet can sustain, estimated; above 1 queues grow.

        Of two pools, what replicas that take prompts would sustain if they did everything counts.
        """
        span = float(self.arrival[-1] - self.arrival[0])
        if span <= 0:
            return float("inf") if self.num_requests > 1 else 0.0
        rates = sustainable_rate(
            self.engine,
            self.kv_blocks.astype(np.int64) * self.block_tokens,
            self.token_budget,
            self.max_batch,
            float(self.prompt.mean()),
            float(self.output.mean()),
        )
        return (self.num_requests - 1) / span / float(rates[self.role != DECODE].sum())


#: Columns of whole numbers with one entry a request.
REQUEST_COLUMNS = ("prompt", "output", "predicted", "max_tokens", "client", "priority")
_REPLICA_COLUMNS = ("kv_blocks", "token_budget", "max_batch", "role")
_SECONDS = (
    "watermark",
    "hold_s",
    "delay_s",
    "stale_s",
    "transfer_s",
    "ttft_slo_s",
    "tpot_slo_s",
)


class Fleet(NamedTuple):
    """The replicas of an instance; the fields are those of :class:`RoutingInstance`."""

    kinds: tuple[str, ...]
    engine: NDArray[np.float64]
    kv_blocks: NDArray[np.int64]
    token_budget: NDArray[np.int64]
    max_batch: NDArray[np.int64]
    role: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        presets: Sequence[str],
        *,
        kv_share: float = 1.0,
        token_budget: int = 512,
        max_batch: int = 128,
        roles: Sequence[int] | None = None,
        block_tokens: int = 16,
    ) -> Self:
        """Replicas by the names of their presets, e.g. ``4 * ["h100/llama-3.1-8b/1"]``.

        Args:
            presets: one name a replica, see :data:`makespan.envs.routing.hardware.PRESETS`.
            kv_share: of the key-value memory that may be used.
            token_budget, max_batch: limits of an iteration.
            roles: (m,) indices into :data:`ROLES`; all unified when None.
            block_tokens: of the instance.

        Raises:
            UnknownNameError: for an unknown preset, with the close matches.
        """
        found = [preset(name) for name in presets]
        count = len(found)
        blocks = [max(int(p.kv_tokens * kv_share) // block_tokens, 1) for p in found]
        return cls(
            kinds=tuple(presets),
            engine=np.array([p.engine for p in found]).reshape(count, len(ENGINE)),
            kv_blocks=np.array(blocks, dtype=np.int64),
            token_budget=np.full(count, token_budget),
            max_batch=np.full(count, max_batch),
            role=np.zeros(count, dtype=np.int64) if roles is None else np.asarray(roles),
        )


def _limits(
    most: Any, prompt: ArrayLike, output: ArrayLike, fleet: Fleet, options: dict[str, Any]
) -> NDArray[np.int64]:
    """(n,) the limit ``most`` on responses, lowered to what memory takes, see ``build``."""
    prompts = _integers(prompt, "prompt").astype(np.int64)
    outputs = _integers(output, "output")
    context = usable_tokens(fleet, **options)
    takes_all = context[context >= (prompts + outputs).max(initial=0)]
    memory = takes_all.min() if len(takes_all) else context.max(initial=0)
    limit = outputs.max(initial=1) if most is None else most
    return np.asarray(np.minimum(limit, np.maximum(memory - prompts, outputs)))


def usable_tokens(
    fleet: Fleet,
    *,
    watermark: float = RoutingInstance.watermark,
    block_tokens: int = RoutingInstance.block_tokens,
    **others: Any,
) -> NDArray[np.int64]:
    """(m,) tokens that the memory of each replica takes above its watermark.

    Args:
        fleet: the replicas.
        watermark, block_tokens: of the instance.
        others: further fields of the instance; they do not matter here.
    """
    blocks = fleet.kv_blocks - np.floor(watermark * fleet.kv_blocks).astype(np.int64)
    return np.asarray(blocks * block_tokens, dtype=np.int64)


def _check_range(field: str, values: NDArray[Any], low: int, high: int) -> None:
    bad = np.flatnonzero((values < low) | (values > high))
    if len(bad):
        raise InstanceError(f"{field}[{bad[0]}]: found {values[bad[0]]}, expected {low} to {high}")


def _floats(values: Any, field: str) -> NDArray[np.float64]:
    try:
        array = _numbers(values).astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InstanceError(f"{field}: found {reprlib.repr(values)}, expected numbers") from None
    bad = np.flatnonzero(~np.isfinite(array.ravel()))
    if len(bad):
        raise InstanceError(
            f"{field}: found {array.ravel()[bad[0]]} at {bad[0]}, expected finite numbers"
        )
    return array


def _integers(values: Any, field: str) -> NDArray[np.int32]:
    try:
        array = _numbers(values)
        numbers = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InstanceError(f"{field}: found {reprlib.repr(values)}, expected integers") from None
    bad = np.flatnonzero((numbers != np.floor(numbers)) | (np.abs(numbers) >= 2**31))
    if array.ndim != 1 or len(bad):
        found = array[bad[0]] if array.ndim == 1 else f"the shape {array.shape}"
        where = f"[{bad[0]}]" if array.ndim == 1 else ""
        raise InstanceError(f"{field}{where}: found {found}, expected a vector of integers")
    return array.astype(np.int32)


def _numbers(values: Any) -> NDArray[Any]:
    """An array; raises TypeError for text, which numpy would read as numbers."""
    array = np.asarray(values)
    if array.dtype.kind in "SU":
        raise TypeError
    return array
