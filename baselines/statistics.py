"""How sure a comparison is: bootstrap intervals, paired tests, ratios.

The sampling unit is the instance. Every function treats its input as one figure per instance, so
several seeds of one instance must be averaged before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 9999
#: Resamples of a statistic that is computed one resample at a time.
STRATIFIED = 2000


class Interval(NamedTuple):
    """A confidence interval; NaN at both ends when one instance is all there is."""

    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """A solver against a baseline on the same instances; differences are solver minus baseline.

    Attributes:
        instances: number of pairs.
        mean: mean difference; below zero the solver is better.
        interval: bootstrap interval of that mean.
        p_value: two-sided Wilcoxon signed-rank test that the differences centre on zero.
        better, equal, worse: number of instances.
    """

    instances: int
    mean: float
    interval: Interval
    p_value: float
    better: int
    equal: int
    worse: int


def bootstrap_interval(values: ArrayLike, seed: int = 0) -> Interval:
    """95 % interval of the mean: bias-corrected and accelerated bootstrap over instances.

    Source: Efron, Better bootstrap confidence intervals, JASA 82 (1987).

    Args:
        values: (instances,) one figure per instance.
        seed: of the resampling, so that a table can be reproduced.
    """
    from scipy.stats import bootstrap

    data = np.asarray(values, dtype=np.float64)
    if len(data) < 2:
        return Interval(float("nan"), float("nan"))
    if np.ptp(data) <= 1e-12 * np.abs(data).max():  # all resamples have one mean: BCa is undefined
        return Interval(float(data[0]), float(data[0]))
    interval = bootstrap(
        (data,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        batch=1000,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(interval.low), float(interval.high))


def compare_paired(values: ArrayLike, baseline: ArrayLike) -> Paired:
    """Compare two solvers instance by instance; lower is better.

    Source of the test: Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin
    1 (1945); pairs without a difference are left out, as there.

    Args:
        values: (instances,) of the solver.
        baseline: (instances,) of the baseline, in the same order.
    """
    from scipy.stats import wilcoxon

    difference = _differences(values, baseline)
    distinct = bool(np.any(difference != 0))
    return Paired(
        instances=len(difference),
        mean=float(difference.mean()),
        interval=bootstrap_interval(difference),
        p_value=float(wilcoxon(difference).pvalue) if distinct else 1.0,
        better=int((difference < 0).sum()),
        equal=int((difference == 0).sum()),
        worse=int((difference > 0).sum()),
    )


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """P-values adjusted for making ``len(p_values)`` comparisons with one baseline.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979).
    """
    ordered = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[ordered] = np.maximum.accumulate(np.asarray(p_values)[ordered] * factors)
    return np.minimum(adjusted, 1.0)


def geometric_mean(ratios: ArrayLike) -> float:
    """Geometric mean of positive ratios; NaN when one is not positive."""
    data = np.asarray(ratios, dtype=np.float64)
    if not len(data) or not np.all(data > 0):
        return float("nan")
    return float(np.exp(np.log(data).mean()))


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half: what an instance in a hundred cannot move.

    Source: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice,
    NeurIPS 2021.
    """
    from scipy.stats import trim_mean

    return float(trim_mean(np.asarray(values, dtype=np.float64), 0.25))


def stratified_interval(
    values: ArrayLike,
    strata: Sequence[str],
    statistic: Callable[[NDArray[np.float64]], float],
    seed: int = 0,
) -> Interval:
    """95 % interval of a statistic: percentile bootstrap that keeps the size of each stratum.

    Source: as :func:`interquartile_mean`.

    Strata of one instance, which would draw nothing but themselves, are one stratum together.

    Args:
        values: (instances,) one figure per instance.
        strata: group of each instance, e.g. its size.
        statistic: of (instances,) figures.
        seed: of the resampling, so that a table can be reproduced.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) < 2:
        return Interval(float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    groups = _pooled(strata)
    drawn = np.concatenate(
        [group[rng.integers(len(group), size=(STRATIFIED, len(group)))] for group in groups], axis=1
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile([statistic(data[index]) for index in drawn], [tail, 1 - tail])
    return Interval(float(low), float(high))


def _pooled(strata: Sequence[str]) -> list[NDArray[np.int64]]:
    """Indices of each stratum; those of one instance together, with the largest if still alone."""
    groups = [np.flatnonzero(np.asarray(strata) == name) for name in dict.fromkeys(strata)]
    several = sorted((group for group in groups if len(group) > 1), key=len)
    singles = [group for group in groups if len(group) == 1]
    if len(singles) == 1 and several:
        singles.append(several.pop())
    return [*several, np.concatenate(singles)] if singles else several


def improvement(values: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    """(instances,) 1 where lower than the baseline, 0.5 where equal, 0 where higher.

    Its mean is the probability of improvement on an instance of the suite.
    """
    return 0.5 - 0.5 * np.sign(_differences(values, baseline))


def _differences(values: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    """Solver minus baseline; means of the same figures in another order are no difference."""
    difference = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    return np.round(difference, 9)


def performance_profile(gaps: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of instances with at most a gap, as the corners of a staircase.

    Source: Dolan, More, Benchmarking optimization software with performance profiles, Mathematical
    Programming 91 (2002), with the gap to the reference in place of the ratio to the best solver,
    so that a solver's profile does not depend on the others.

    Args:
        gaps: (instances,) percent.

    Returns:
        (instances,) gaps in ascending order, (instances,) shares up to 1.
    """
    ordered = np.sort(np.asarray(gaps, dtype=np.float64))
    return ordered, np.arange(1, len(ordered) + 1) / len(ordered)
