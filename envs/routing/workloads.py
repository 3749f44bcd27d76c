"""Streams of requests drawn from published statistics: lengths, arrivals, shared prefixes.

Lengths are lognormal; parameters (mean and standard deviation of the logarithm) were fitted to

* ``azure-conversation``, ``azure-code``: the Azure LLM inference traces of 2023 (Patel et al.,
  Splitwise, ISCA 2024; CC-BY-4.0), 19,366 and 8,819 requests; gaps between arrivals have a
  coefficient of variation of 1.09 and 13.2. Of code they are drawn here with 4: with 13.2 a gamma
  distribution would have nine of ten below a millionth of their mean.
* ``mooncake``: the conversation trace of Mooncake (Qin et al., FAST 2025; Apache-2.0), 12,031
  requests, 37 % of whose prompt tokens an infinite cache would find. Conversations are drawn here
  turn by turn, on top of shared system prompts; their number of turns is set to come near that.
* ``five-tasks``: the mixture of Jain et al., arXiv 2408.13510 (book translation, ELI5, IMDb, SQuAD,
  WNUT), from the mean lengths of their table; the spreads are ours.
* ``sharegpt``, ``alpaca``: mean lengths of ShareGPT and Alpaca from Kwon et al. (vLLM, SOSP 2023,
  figure 11), ``lmsys``: those of a turn in LMSYS-Chat-1M (Zheng et al., ICLR 2024, table 1); the
  spreads are ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UnknownNameError, UsageError

#: Prompt tokens of a prefix block, as in the Mooncake traces.
PREFIX_TOKENS = 512
#: Clients that independent requests come from.
CLIENTS = 8


class Requests(NamedTuple):
    """Lengths of n requests, who sent them, and their prefix blocks."""

    prompt: NDArray[np.int64]  # (n,)
    output: NDArray[np.int64]  # (n,)
    client: NDArray[np.int64]  # (n,)
    prefixes: list[list[int]]


class Lognormal(NamedTuple):
    """Mean and standard deviation of the logarithm of a length in tokens."""

    mu: float
    sigma: float

    @classmethod
    def of_mean(cls, mean: float, sigma: float) -> "Lognormal":
        """The one with this mean."""
        return cls(float(np.log(mean)) - sigma**2 / 2, sigma)

    def draw(self, rng: np.random.Generator, count: int, most: int) -> NDArray[np.int64]:
        """(count,) lengths from 1 to ``most``."""
        lengths = np.rint(rng.lognormal(self.mu, self.sigma, count))
        return np.clip(lengths, 1, most).astype(np.int64)


@dataclass(frozen=True)
class Workload:
    """A kind of stream.

    Attributes:
        tasks: pairs of prompt and output lengths; each request is of one task, drawn uniformly.
        variation: coefficient of variation of the gaps between arrivals (gamma distributed).
        turns: mean number of turns of a conversation; 0 for independent requests.
        longest: most tokens of a prompt, and of a response.
    """

    tasks: tuple[tuple[Lognormal, Lognormal], ...]
    variation: float = 1.0
    turns: float = 0.0
    longest: tuple[int, int] = (8192, 1024)

    def limits(self, memory: int) -> tuple[int, int]:
        """Most tokens of a prompt and of a response when a replica holds ``memory`` tokens."""
        share = max(memory // 4, 1)
        return min(self.longest[0], share), min(self.longest[1], share)

    def draw(self, rng: np.random.Generator, count: int, memory: int) -> Requests:
        """``count`` requests, each of which fits into ``memory`` tokens twice."""
        most_prompt, most_output = self.limits(memory)
        task = rng.integers(len(self.tasks), size=count)
        prompt, output = (np.empty(count, dtype=np.int64) for _ in range(2))
        for number, (prompts, outputs) in enumerate(self.tasks):
            of_task = np.flatnonzero(task == number)
            prompt[of_task] = prompts.draw(rng, len(of_task), most_prompt)
            output[of_task] = outputs.draw(rng, len(of_task), most_output)
        if self.turns:
            return _conversations(rng, prompt, output, self.turns, most_prompt)
        client = rng.integers(CLIENTS, size=count)
        return Requests(prompt, output, client, [[] for _ in range(count)])

    def arrivals(self, rng: np.random.Generator, count: int, rate: float) -> NDArray[np.float64]:
        """(count,) times from 0 on at ``rate`` requests a second."""
        shape = 1 / self.variation**2
        gaps = rng.gamma(shape, 1 / (shape * rate), count)
        gaps[0] = 0
        return np.cumsum(gaps)


#: Requests between two turns of a conversation, in the mean.
TURN_GAP = 40
#: System prompts that conversations start from, and how many blocks they have.
SYSTEM_PROMPTS = 12
SYSTEM_BLOCKS = 8


def _conversations(
    rng: np.random.Generator,
    prompt: NDArray[np.int64],
    output: NDArray[np.int64],
    turns: float,
    most: int,
) -> Requests:
    """Let requests continue earlier ones: their prompts then begin with all that was said.

    ``prompt`` are the lengths of first turns; a further turn adds the previous response and a new
    message of an eighth of such a length.
    """
    system = rng.integers(1, SYSTEM_BLOCKS + 1, size=SYSTEM_PROMPTS)
    names = np.cumsum(system) - system  # of the first block of each system prompt
    popularity = 1 / np.arange(1, SYSTEM_PROMPTS + 1)
    fresh = int(system.sum())
    open_turns: list[int] = []  # requests that may be continued
    blocks: list[list[int]] = []
    client = np.empty(len(prompt), dtype=np.int64)
    prompt = prompt.copy()
    for i in range(len(prompt)):
        goes_on = bool(open_turns) and rng.random() < 1 - 1 / turns
        if goes_on:
            before = open_turns.pop(int(rng.integers(len(open_turns))))
            client[i] = client[before]
            history = int(prompt[before] + output[before])
            prompt[i] = min(history + max(int(prompt[i]) // 8, 1), most)
            start = blocks[before]
        else:
            client[i] = i
            which = int(rng.choice(SYSTEM_PROMPTS, p=popularity / popularity.sum()))
            start = list(range(names[which], names[which] + system[which]))
        full = int(prompt[i]) // PREFIX_TOKENS
        own = max(full - len(start), 0)
        blocks.append(start[:full] + list(range(fresh, fresh + own)))
        fresh += own
        open_turns.append(i)
        if len(open_turns) > TURN_GAP:
            open_turns.pop(0)
    return Requests(prompt, output, np.unique(client, return_inverse=True)[1], blocks)


def _task(prompt: float, output: float, spread: float = 0.5) -> tuple[Lognormal, Lognormal]:
    """Lengths by their means; ``spread`` is that of the prompt."""
    return Lognormal.of_mean(prompt, spread), Lognormal.of_mean(output, 0.9)


#: Every workload by its name.
WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        "azure-conversation": Workload(((Lognormal(6.63, 0.985), Lognormal(5.02, 0.859)),), 1.09),
        "azure-code": Workload(((Lognormal(7.00, 1.36), Lognormal(2.79, 0.85)),), 4.0),
        "mooncake": Workload(
            ((Lognormal(8.74, 1.20), Lognormal(5.34, 1.0)),), turns=2.2, longest=(16384, 1024)
        ),
        "five-tasks": Workload(
            (
                _task(29.09, 61.76),
                _task(29.83, 334.40),
                _task(211.54, 142.53),
                _task(125.16, 220.02),
                _task(26.41, 64.10),
            ),
            longest=(1000, 1000),
        ),
        "sharegpt": Workload((_task(161.31, 337.99, spread=1.2),), longest=(2048, 2048)),
        "alpaca": Workload((_task(19.31, 58.45),), longest=(2048, 2048)),
        "lmsys": Workload((_task(69.5, 214.5, spread=1.2),), longest=(2048, 2048)),
    }
)


def workload(name: str) -> Workload:
    """A workload by its name; raises UnknownNameError with the close matches."""
    if name not in WORKLOADS:
        raise UnknownNameError("workload", name, WORKLOADS)
    return WORKLOADS[name]


#: Upper ends (tokens) of the predictor's first buckets, and the length each bucket stands for:
#: unequal ones as in Jain et al., about 0-250, 250-1000 and longer.
BUCKETS = (250, 1000)
BUCKET_LENGTHS = (100, 500, 1500)


def _exact(
    output: NDArray[np.int64], error: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    return output.astype(np.float64)


def _bucket(
    output: NDArray[np.int64], error: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A classifier that is right but for a share ``error``, then off by one bucket."""
    bucket = np.searchsorted(BUCKETS, output, side="left")
    step = np.where(rng.random(len(output)) < 0.5, -1, 1)
    other = np.where(bucket == 0, 1, np.where(bucket == len(BUCKETS), bucket - 1, bucket + step))
    wrong = rng.random(len(output)) < error
    return np.asarray(BUCKET_LENGTHS, dtype=np.float64)[np.where(wrong, other, bucket)]


def _noise(
    output: NDArray[np.int64], error: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Multiplied by a lognormal factor, ``error`` the standard deviation of its logarithm."""
    return np.asarray(output * rng.lognormal(0, error, len(output)), dtype=np.float64)


def _bias(output: NDArray[np.int64], error: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """All lengths too long by the share ``error`` (too short when negative)."""
    return np.asarray(output * (1 + error), dtype=np.float64)


def _rank(output: NDArray[np.int64], error: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The true lengths, a share ``error`` of them dealt out among each other at random."""
    lengths = output.astype(np.float64)
    wrong = np.flatnonzero(rng.random(len(output)) < error)
    lengths[wrong] = lengths[rng.permutation(wrong)]
    return lengths


def _mean(output: NDArray[np.int64], error: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Nothing but the mean is known."""
    return np.full(len(output), output.mean())


#: Predictors of response lengths: ``(true lengths, error, rng) -> predicted``.
PREDICTORS: Mapping[
    str, Callable[[NDArray[np.int64], float, np.random.Generator], NDArray[np.float64]]
] = MappingProxyType(
    {
        "exact": _exact,
        "bucket": _bucket,
        "noise": _noise,
        "bias": _bias,
        "rank": _rank,
        "mean": _mean,
    }
)


def predict(
    output: NDArray[np.int64], predictor: str, error: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Predicted response lengths, whole numbers from 1.

    Raises:
        UnknownNameError: for an unknown predictor.
        UsageError: for an error outside its range.
    """
    if predictor not in PREDICTORS:
        raise UnknownNameError("predictor", predictor, PREDICTORS)
    lowest = -1.0 if predictor == "bias" else 0.0
    highest = 1.0 if predictor in ("bucket", "rank") else 10.0
    if not lowest <= error <= highest:
        raise UsageError(f"error: found {error}, expected {lowest} to {highest} for {predictor}")
    lengths = PREDICTORS[predictor](output, error, rng)
    return np.maximum(np.rint(lengths), 1).astype(np.int64)
