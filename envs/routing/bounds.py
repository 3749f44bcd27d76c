"""A lower bound on the latency of each request: alone on the best replica."""

from collections import Counter
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from makespan.envs.routing.hardware import iteration_time
from makespan.envs.routing.instance import DECODE, PREFILL, RoutingInstance

#: The bound is lowered by this share: sums of thousands of iteration times are rounded.
ROUNDING = 1e-9


def latency_alone(instance: RoutingInstance) -> NDArray[np.float64]:
    """(n,) seconds that each request takes at least, whatever the router does.

    Others can only make it slower: they take memory and budget, and iteration times grow with what
    is in the batch. With the prefix cache, every prefix block that an earlier request has is taken
    to be in the cache, and one of a later request where :func:`_later_ones_help`; with
    disaggregated pools, moving takes no time.
    """
    prefill, decode = _prefill(instance), _decode(instance)
    takes_prompts, decodes = instance.role != DECODE, instance.role != PREFILL
    if (takes_prompts & decodes).all():
        alone = (prefill + decode).min(axis=0)
    else:
        alone = prefill[takes_prompts].min(axis=0) + decode[decodes].min(axis=0)
    return np.asarray(alone * (1 - ROUNDING))


def lower_bound(instance: RoutingInstance) -> float:
    """A bound on the mean end-to-end latency, in seconds."""
    return float(latency_alone(instance).mean())


def _prefill(instance: RoutingInstance) -> NDArray[np.float64]:
    """(m, n) seconds to the first token."""
    prompt = instance.prompt.astype(np.float64)
    cached = _reusable(instance).astype(np.float64)
    left = prompt - cached
    engine = instance.engine[:, None, :]
    budget = instance.token_budget[:, None].astype(np.float64)
    chunks = np.ceil(left / budget)
    last = left - (chunks - 1) * budget
    nothing = np.zeros_like(left)
    # the squares of chunks telescope to prompt^2 - cached^2
    whole = iteration_time(engine, budget, 0, 0)
    return (chunks - 1) * whole + iteration_time(engine, last, 0, nothing, prompt**2 - cached**2)


def _decode(instance: RoutingInstance) -> NDArray[np.float64]:
    """(m, n) seconds from the first token to the last."""
    steps = instance.output.astype(np.float64) - 1
    context = instance.prompt + (steps - 1) / 2  # in the mean
    return steps * iteration_time(instance.engine[:, None, :], 0, 1, context)


def _reusable(instance: RoutingInstance) -> NDArray[np.int64]:
    """(n,) tokens of each prompt that another request may have left in a cache for nothing."""
    tokens = np.zeros(instance.num_requests, dtype=np.int64)
    if not instance.prefix_cache:
        return tokens
    offsets, prefixes = instance.prefix_offsets.tolist(), instance.prefixes.tolist()
    of_requests = [prefixes[first:last] for first, last in pairwise(offsets)]
    seen: set[int] = set()
    if _later_ones_help(instance):
        users = Counter(block for blocks in of_requests for block in set(blocks))
        seen = {block for block, count in users.items() if count > 1}
    for i, blocks in enumerate(of_requests):
        most = (int(instance.prompt[i]) - 1) // instance.prefix_tokens
        found = 0
        while found < min(len(blocks), most) and blocks[found] in seen:
            found += 1
        tokens[i] = found * instance.prefix_tokens
        seen.update(blocks)
    return tokens


def _later_ones_help(instance: RoutingInstance) -> bool:
    """Whether a prompt may gain by waiting for a later request to fill the cache.

    Else that request takes at least as long for the blocks as the prompt itself would. Not so where
    many tokens in one iteration cost more each (``beyond``) and blocks are not whole iterations:
    what was one long iteration may become two short ones.
    """
    whole = instance.prefix_tokens % instance.token_budget == 0
    return bool(((instance.engine[:, 3] > 0) & ~whole).any())
