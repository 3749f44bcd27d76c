"""Figures of merit of a routing solution, from the definitions of the serving literature.

TTFT: time to first token. TPOT: (last - first token) / (response tokens - 1), of responses of two
or more (DistServe, OSDI 2024). Normalised latency: end-to-end latency over response tokens (Orca,
OSDI 2022). SLO attainment: share of requests with both TTFT and TPOT within their objectives.
Jain's index: (sum x)^2 / (n sum x^2) (Jain, Chiu and Hawe 1984). Service: prompt tokens and two for
each response token (VTC, OSDI 2024), counted here when a request ends.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.routing.instance import RoutingInstance
from makespan.envs.routing.replay import OUTPUT_WEIGHT
from makespan.envs.routing.solution import RoutingSolution, replayed


def latency(instance: RoutingInstance, solution: RoutingSolution) -> NDArray[np.float64]:
    """(n,) end-to-end seconds."""
    return np.asarray(solution.end - instance.arrival)


def time_to_first_token(
    instance: RoutingInstance, solution: RoutingSolution
) -> NDArray[np.float64]:
    """(n,) seconds."""
    return np.asarray(solution.first_token - instance.arrival)


def time_per_output_token(
    instance: RoutingInstance, solution: RoutingSolution
) -> NDArray[np.float64]:
    """(n,) seconds, NaN for responses of one token."""
    gaps = instance.output - 1
    time = solution.end - solution.first_token
    return np.where(gaps > 0, time / np.maximum(gaps, 1), np.nan)


def token_gaps(instance: RoutingInstance, solution: RoutingSolution) -> NDArray[np.float64]:
    """Every time between two tokens of a response (TBT), in seconds; computed by replay."""
    gaps = [np.diff(times) for times in replayed(instance, solution).tokens]
    return np.concatenate(gaps) if gaps else np.zeros(0)


def meets_objectives(instance: RoutingInstance, solution: RoutingSolution) -> NDArray[np.bool_]:
    """(n,) whether a request kept both of its objectives."""
    per_token = np.nan_to_num(time_per_output_token(instance, solution))
    first = time_to_first_token(instance, solution)
    return np.asarray((first <= instance.ttft_slo_s) & (per_token <= instance.tpot_slo_s))


def hit_ratio(instance: RoutingInstance, solution: RoutingSolution) -> float:
    """Share of prompt tokens found in a prefix cache at the first admission."""
    return float(solution.cached.sum() / instance.prompt.sum())


def jain(values: ArrayLike) -> float:
    """Jain's index: 1 when all are equal, 1/n when one has everything."""
    x = np.asarray(values, dtype=np.float64)
    return float(x.sum() ** 2 / (len(x) * (x**2).sum()))


def client_fairness(instance: RoutingInstance, solution: RoutingSolution) -> float:
    """Jain's index of the clients' mean normalised latencies."""
    normalised = latency(instance, solution) / instance.output
    count = np.bincount(instance.client)
    mean = np.bincount(instance.client, normalised)[count > 0] / count[count > 0]
    return jain(mean)


def service_gap(instance: RoutingInstance, solution: RoutingSolution) -> float:
    """Largest difference of service between two clients that both have requests unfinished."""
    clients = int(instance.client.max()) + 1
    service, unfinished = np.zeros(clients), np.zeros(clients, dtype=np.int64)
    tokens = instance.prompt + OUTPUT_WEIGHT * instance.output
    events = [(time, 0, i) for i, time in enumerate(instance.arrival.tolist())]
    events += [(time, 1, i) for i, time in enumerate(solution.end.tolist())]
    widest = 0.0
    for _, ends, i in sorted(events):
        client = instance.client[i]
        unfinished[client] += -1 if ends else 1
        service[client] += tokens[i] if ends else 0
        backlogged = service[unfinished > 0]
        if len(backlogged) > 1:
            widest = max(widest, float(backlogged.max() - backlogged.min()))
    return widest


def _quantile(
    values: Callable[[Any, Any], NDArray[np.float64]], q: float, instance: Any, solution: Any
) -> float:
    column = values(instance, solution)
    return float(np.nanquantile(column, q)) if len(column) else 0.0


def _mean(values: Callable[[Any, Any], NDArray[Any]], instance: Any, solution: Any) -> float:
    column = values(instance, solution)
    return float(np.nanmean(column)) if not np.isnan(column).all() else 0.0


#: Columns of the evaluator's tables, beside the mean end-to-end latency.
METRICS: Mapping[str, Callable[[RoutingInstance, RoutingSolution], float]] = MappingProxyType(
    {
        "p50_s": partial(_quantile, latency, 0.5),
        "p95_s": partial(_quantile, latency, 0.95),
        "p99_s": partial(_quantile, latency, 0.99),
        "ttft_s": partial(_mean, time_to_first_token),
        "ttft99_s": partial(_quantile, time_to_first_token, 0.99),
        "tpot_s": partial(_mean, time_per_output_token),
        "tbt99_s": partial(_quantile, token_gaps, 0.99),
        "s_per_tok": lambda i, s: float((latency(i, s) / i.output).mean()),
        "slo": partial(_mean, meets_objectives),
        "preempt": lambda i, s: float(s.preemptions.sum()),
        "hits": hit_ratio,
        "held_s": lambda i, s: float((s.release - i.arrival).mean()),
        "jain": client_fairness,
        "gap_tok": service_gap,
        "episode": lambda i, s: float(s.end.max() - i.arrival[0]),
    }
)
