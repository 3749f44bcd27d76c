"""Random clusters and streams of requests, for training and validation."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.ranges import (
    Range,
    RealRange,
    check_range,
    check_real_range,
    draw,
    draw_real,
    ends,
    grown,
)
from makespan.envs.routing.hardware import PRESETS, sustainable_rate
from makespan.envs.routing.instance import DECODE, PREFILL, Fleet, RoutingInstance, Sizes
from makespan.envs.routing.workloads import (
    CLIENTS,
    PREFIX_TOKENS,
    WORKLOADS,
    Requests,
    predict,
    workload,
)

#: Presets that serve the same model, among which a fleet is drawn.
MODELS = {
    "llama-2-7b": ("a100/llama-2-7b/1", "h100/llama-2-7b/1", "a100/llama-2-7b/2"),
    "llama-2-13b": ("a100/llama-2-13b/1", "h100/llama-2-13b/1"),
    "llama-3.1-8b": ("a100/llama-3.1-8b/1", "h100/llama-3.1-8b/1", "h100/llama-3.1-8b/2"),
    "llama-2-70b": ("a100/llama-2-70b/4", "h100/llama-2-70b/4", "a100/llama-2-70b/4-2023"),
    "llama-2-7b-v100": ("v100/llama-2-7b/1",),
}

#: Seconds to move the memory of a token: 50 GB/s, 327,680 bytes a token (Llama-2-70B).
TRANSFER_S = 327_680 / 50e9

MAX_BATCH = 128

#: Predictors that ``"any"`` draws among, and the ways to use the replicas.
ANY_PREDICTOR = ("bucket", "noise", "exact")
POOLS = ("unified", "disaggregated")


@dataclass(frozen=True)
class RoutingGenerator:
    """Fleets, workloads and loads drawn at random.

    Attributes:
        num_requests: number of requests.
        num_replicas: number of replicas.
        fleet: of one preset, of several, or either; ``"..."`` a preset: all of that one.
        model: a key of :data:`MODELS`, or ``"any"``.
        workload: a key of :data:`makespan.envs.routing.workloads.WORKLOADS`, or ``"any"``.
        load: smallest and largest arrival rate, over the rate that the fleet can sustain; of two
            pools, that of the replicas that take prompts.
        rate: instead of ``load``, requests a second for each replica; 0: by ``load``.
        memory: smallest and largest share of the key-value memory that may be used.
        predictor: of response lengths, or ``"any"``; see ``PREDICTORS`` of the workloads.
        error: smallest and largest error of the predictor.
        prefix_cache: whether replicas cache prefixes, where the workload has some.
        pools: ``"disaggregated"`` splits the fleet into prefill and decode replicas.
        token_budget: of every replica.
        hold_s: a held request may be sent again after this time.
        max_holds: how often a request may be held.
        delay_s, stale_s: see :class:`RoutingInstance`.

    Raises:
        UsageError, UnknownNameError: for a value outside its range.
    """

    num_requests: Range
    num_replicas: Range
    fleet: str = "mixed"
    model: str = "any"
    workload: str = "any"
    load: RealRange = (0.5, 1.1)
    rate: float = 0.0
    memory: RealRange = (0.1, 1.0)
    predictor: str = "any"
    error: RealRange = (0.0, 0.6)
    prefix_cache: bool = True
    pools: Literal["unified", "disaggregated"] = "unified"
    token_budget: int = 512
    hold_s: RealRange = 0.25
    max_holds: Range = 20
    delay_s: float = 0.0
    stale_s: float = 0.0

    def __post_init__(self) -> None:
        check_range("num_requests", self.num_requests, 1, 2**20)
        low, _ = check_range("num_replicas", self.num_replicas, 1, 2**12)
        if self.pools not in POOLS:
            raise UnknownNameError("pools", self.pools, POOLS)
        if self.pools == "disaggregated" and low < 2:
            raise UsageError(f"num_replicas: found {self.num_replicas}, two pools need at least 2")
        check_real_range("load", self.load, 1e-3, 100)
        check_real_range("memory", self.memory, 1e-3, 1)
        check_real_range("error", self.error, -1, 10)
        check_real_range("hold_s", self.hold_s, 0, 1e6)
        check_range("max_holds", self.max_holds, 0, 2**31)
        if not 0 <= self.rate <= 1e6:
            raise UsageError(f"rate: found {self.rate}, expected 0 to 1,000,000")
        if self.model not in ("any", *MODELS):
            raise UnknownNameError("model", self.model, ("any", *MODELS))
        if self.fleet not in ("mixed", "homogeneous", "heterogeneous", *PRESETS):
            known = ("mixed", "homogeneous", "heterogeneous", *PRESETS)
            raise UnknownNameError("fleet", self.fleet, known)
        if self.fleet in PRESETS and self.fleet not in MODELS.get(self.model, PRESETS):
            raise UsageError(
                f"model: found {self.model}, expected that of the fleet, {self.fleet}, or any"
            )
        if self.workload != "any":
            workload(self.workload)
        for predictor in ANY_PREDICTOR if self.predictor == "any" else (self.predictor,):
            for error in ends(self.error):
                predict(np.ones(1, dtype=np.int64), predictor, error, np.random.default_rng(0))
        self._check_rules()

    def _check_rules(self) -> None:
        """Those of every instance, on the smallest there is."""
        fleet = self._fleet(np.random.default_rng(0), 1 + (self.pools == "disaggregated"))
        try:
            holds = {"hold_s": ends(self.hold_s)[0], "max_holds": ends(self.max_holds)[1]}
            RoutingInstance.build([0.0], [1], [1], fleet, **holds, **self._rules)
        except InstanceError as error:
            raise UsageError(str(error)) from None

    @property
    def _rules(self) -> dict[str, Any]:
        """What the options say of every instance."""
        return {
            "transfer_s": TRANSFER_S if self.pools == "disaggregated" else 0.0,
            "delay_s": self.delay_s,
            "stale_s": self.stale_s,
        }

    def grown(self, progress: float) -> Self:
        """The same with requests and replicas up to ``progress`` of the way from low to high."""
        return replace(
            self,
            num_requests=grown(self.num_requests, progress),
            num_replicas=grown(self.num_replicas, progress),
        )

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        requests, replicas = ends(self.num_requests)[1], ends(self.num_replicas)[1]
        names = WORKLOADS if self.workload == "any" else [self.workload]
        with_prefixes = [WORKLOADS[name] for name in names if WORKLOADS[name].turns]
        blocks = max((w.longest[0] // PREFIX_TOKENS for w in with_prefixes), default=0) * requests
        clients = max(requests, CLIENTS)
        return Sizes(requests, replicas, MAX_BATCH, clients, blocks + 100 * bool(blocks), blocks)

    def sample(self, rng: np.random.Generator) -> RoutingInstance:
        """A fresh instance; the same generator state gives the same instance."""
        count, replicas = draw(rng, self.num_requests), draw(rng, self.num_replicas)
        name = self._choose(rng, self.workload, tuple(WORKLOADS))
        stream = workload(name)
        fleet = self._fleet(rng, replicas)
        memory = int(fleet.kv_blocks.min()) * 16
        requests = stream.draw(rng, count, memory)
        predictor = self._choose(rng, self.predictor, ANY_PREDICTOR)
        error = rng.uniform(*ends(self.error))
        return RoutingInstance.build(
            stream.arrivals(rng, count, self._rate(rng, fleet, requests)),
            requests.prompt,
            requests.output,
            fleet,
            predicted=predict(requests.output, predictor, error, rng),
            max_tokens=stream.limits(memory)[1],
            client=requests.client,
            prefixes=requests.prefixes,
            name=f"{name}-{count}x{replicas}",
            prefix_cache=self.prefix_cache and bool(stream.turns),
            prefix_tokens=PREFIX_TOKENS,
            hold_s=draw_real(rng, self.hold_s),
            max_holds=draw(rng, self.max_holds),
            **self._rules,
        )

    def _rate(self, rng: np.random.Generator, fleet: Fleet, requests: Requests) -> float:
        """Requests a second."""
        load = float(rng.uniform(*ends(self.load)))
        if self.rate:
            return self.rate * len(fleet.kinds)
        rates = sustainable_rate(
            fleet.engine,
            fleet.kv_blocks * 16,
            fleet.token_budget,
            fleet.max_batch,
            float(requests.prompt.mean()),
            float(requests.output.mean()),
        )
        return load * float(rates[fleet.role != DECODE].sum())

    def _fleet(self, rng: np.random.Generator, replicas: int) -> Fleet:
        model = self._choose(rng, self.model, tuple(MODELS))
        presets = MODELS[model]
        kind = self.fleet
        if kind == "mixed":
            kind = ("homogeneous", "heterogeneous")[int(rng.integers(2))]
        if kind in PRESETS:
            names = [kind] * replicas
        elif kind == "homogeneous":
            names = [presets[int(rng.integers(len(presets)))]] * replicas
        else:
            names = [presets[int(k)] for k in rng.integers(len(presets), size=replicas)]
        low, high = ends(self.memory)
        share = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        roles = None
        if self.pools == "disaggregated":
            first = max(replicas // 2, 1)
            roles = [PREFILL] * first + [DECODE] * (replicas - first)
        return Fleet.of(
            names,
            kv_share=share,
            token_budget=self.token_budget,
            max_batch=min(MAX_BATCH, self.token_budget),
            roles=roles,
        )

    @staticmethod
    def _choose(rng: np.random.Generator, wanted: str, known: tuple[str, ...]) -> str:
        return known[int(rng.integers(len(known)))] if wanted == "any" else wanted
