"""Intervals and tests against values known from theory or worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from makespan.baselines.statistics import (
    bootstrap_interval,
    compare_paired,
    geometric_mean,
    holm,
    improvement,
    interquartile_mean,
    performance_profile,
    stratified_interval,
)


def test_interval_covers_the_true_mean_about_95_times_in_100():
    rng = np.random.default_rng(0)
    samples = rng.normal(loc=10, scale=3, size=(200, 30))
    covered = [low <= 10 <= high for low, high in map(bootstrap_interval, samples)]
    assert 0.90 <= np.mean(covered) <= 0.98


def test_interval_agrees_with_the_normal_one_for_a_large_sample():
    sample = np.random.default_rng(1).normal(loc=5, scale=2, size=2000)
    half_width = 1.96 * sample.std(ddof=1) / math.sqrt(len(sample))
    low, high = bootstrap_interval(sample)
    assert low == pytest.approx(sample.mean() - half_width, abs=0.01)
    assert high == pytest.approx(sample.mean() + half_width, abs=0.01)


def test_interval_is_reproducible():
    sample = [1.0, 4.0, 2.0, 8.0]
    assert bootstrap_interval(sample) == bootstrap_interval(sample)


def test_interval_of_equal_values_is_the_value_and_of_one_value_unknown():
    assert bootstrap_interval([2.5, 2.5, 2.5]) == (2.5, 2.5)
    assert all(math.isnan(end) for end in bootstrap_interval([2.5]))


def test_paired_comparison_by_hand():
    # Six differences of one sign: the two-sided exact signed-rank p-value is 2 / 2**6.
    paired = compare_paired([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 12])
    assert paired.p_value == pytest.approx(2 / 2**6)
    assert paired.mean == pytest.approx(-3.5)
    assert paired.interval.low < -3.5 < paired.interval.high < 0
    assert (paired.better, paired.equal, paired.worse) == (6, 0, 0)


def test_comparison_with_itself_finds_no_difference():
    paired = compare_paired([3.0, 1.0, 2.0], [3.0, 1.0, 2.0])
    assert (paired.mean, paired.p_value, paired.equal) == (0.0, 1.0, 3)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_raises_p_values_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    assert np.all(adjusted >= p_values)
    assert np.all(adjusted <= 1)
    assert np.all(np.diff(adjusted[np.argsort(p_values)]) >= 0)


def test_geometric_mean():
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert math.isnan(geometric_mean([1.0, 0.0]))
    assert math.isnan(geometric_mean([]))


def test_the_interquartile_mean_is_that_of_the_middle_half() -> None:
    assert interquartile_mean([1000, 3, 2, 4, 5, 3, -50, 1]) == pytest.approx((2 + 3 + 3 + 4) / 4)


def test_improvement_counts_ties_half() -> None:
    assert improvement([1, 2, 3], [2, 2, 2]).tolist() == [1, 0.5, 0]


def test_resampling_keeps_the_size_of_each_stratum() -> None:
    # within a stratum all figures are equal, so no resample has another mean
    values, strata = [1.0] * 5 + [9.0] * 3, ["small"] * 5 + ["large"] * 3
    interval = stratified_interval(values, strata, lambda data: float(data.mean()))
    assert interval == pytest.approx((4.0, 4.0))


def test_strata_of_one_instance_are_resampled_together() -> None:
    def mean(data: NDArray[np.float64]) -> float:
        return float(data.mean())

    values = [1.0, 20.0, 5.0, 70.0, 3.0]
    together = stratified_interval(values, ["all"] * 5, mean)
    assert stratified_interval(values, list("abcde"), mean) == together
    # one that is alone joins the largest
    low, high = stratified_interval(values, ["a", "b", "b", "b", "a"], mean)
    assert stratified_interval(values[:4], ["c", "b", "b", "b"], mean) == stratified_interval(
        values[1:4] + values[:1], ["b"] * 4, mean
    )
    assert low < high


def test_means_of_the_same_figures_in_another_order_are_ties() -> None:
    values, others = [0.1 + 0.2 + 0.3, 1.0], [0.3 + 0.2 + 0.1, 1.0]
    assert values != others
    assert compare_paired(values, others).equal == 2
    assert improvement(values, others).tolist() == [0.5, 0.5]


def test_a_stratified_interval_covers_the_statistic_and_has_no_meaning_for_one_instance() -> None:
    values = np.random.default_rng(0).normal(5, 1, 60)
    low, high = stratified_interval(values, ["a"] * 60, interquartile_mean)
    assert low < interquartile_mean(values) < high
    assert high - low < 1.0
    assert np.isnan(stratified_interval([3.0], ["a"], interquartile_mean)).all()


def test_a_performance_profile_is_a_staircase_up_to_all_instances() -> None:
    gaps, shares = performance_profile([3, 1, 2, 2])
    assert gaps.tolist() == [1, 2, 2, 3]
    assert shares.tolist() == [0.25, 0.5, 0.75, 1.0]
