"""Summaries against figures worked out by hand."""

from dataclasses import replace

import pytest

from makespan.baselines.report import headline
from makespan.baselines.results import Row, with_gaps
from makespan.baselines.summary import (
    Summary,
    display_name,
    metrics_table,
    paired_table,
    quality_table,
    run_table,
    size_table,
    summarise,
)


def row(instance: str, solver: str, objective: float, seed: int = 0, seconds: float = 1.0) -> Row:
    """The best known value is always 100, so the gap is the objective minus 100."""
    return Row(
        instance=instance,
        instance_hash=instance,
        size="small" if instance in "ab" else "large",
        solver=solver,
        options=("active" if solver == "rule" else "",),
        seed=seed,
        time_limit_s=1.0,
        weights_hash="",
        objective=objective,
        metrics=(objective / 10,),
        lower_bound=90.0,
        best_known_lower=90.0,
        best_known_upper=100.0,
        best_known_as_of="2020-02-20",
        gap_percent=float("nan"),
        gap_to="",
        seconds=seconds,
        status="optimal" if objective == 100 else "feasible",
        version="1",
        hardware="",
    )


ROWS = with_gaps(
    [
        *(row(name, "rule", 110 + 10 * i, seed) for seed in (0, 1) for i, name in enumerate("abc")),
        *(row(name, "search", 100 + 2 * i, seconds=1 + i) for i, name in enumerate("abc")),
        *(row(name, "search", 100 + 4 * i, seed=1, seconds=3 + i) for i, name in enumerate("abc")),
    ]
)


@pytest.fixture
def summary() -> Summary:
    found = summarise(ROWS, ["decode"], rules=["rule"], metric_names=["energy mJ"])
    assert found is not None
    return found


def test_means_are_over_instances_after_averaging_seeds(summary):
    search, rule = summary.solvers
    assert search.gaps == pytest.approx((0, 3, 6))
    assert search.overall.gap == pytest.approx(3)
    assert search.by_size["small"].gap == pytest.approx(1.5)
    assert search.by_size["large"].instances == 1
    assert rule.overall.gap == pytest.approx(20)
    assert summary.sizes == ("small", "large")
    assert summary.gap_to == "best known UB 2020-02-20"


def test_best_rule_is_the_baseline(summary):
    search, rule = summary.solvers
    assert summary.baseline == "rule"
    assert rule.paired is None
    assert search.paired.mean == pytest.approx(-17)
    assert search.paired.better == 3
    assert search.p_adjusted == pytest.approx(0.25)  # 2 / 2**3


def test_ratio_wins_proofs_and_seconds(summary):
    search, rule = summary.solvers
    assert rule.ratio == pytest.approx((1.1 * 1.2 * 1.3) ** (1 / 3))
    assert (search.wins, rule.wins) == (3, 0)
    assert search.optimal == 1
    assert (search.seconds_median, search.seconds_mean) == pytest.approx((3, 3))


def test_an_instance_that_some_solver_has_not_answered_is_left_out():
    partial = [r for r in ROWS if not (r.instance == "c" and r.solver == "search")]
    summary = summarise(partial, ["decode"], rules=["rule"])
    assert summary.instances == ("a", "b")
    assert summary.left_out == ("c",)
    assert summary.solvers[1].overall.gap == pytest.approx(15)


def test_an_instance_that_lacks_a_seed_or_a_gap_is_left_out():
    late = [r for r in ROWS if (r.instance, r.solver, r.seed) != ("c", "search", 1)]
    assert summarise(late, ["decode"], rules=["rule"]).left_out == ("c",)
    undefined = [
        replace(r, gap_percent=float("nan")) if (r.instance, r.seed) == ("a", 1) else r
        for r in ROWS
    ]
    assert summarise(undefined, ["decode"], rules=["rule"]).left_out == ("a",)


def test_nothing_in_common_is_no_summary():
    assert summarise([ROWS[0], ROWS[-1]], ["decode"], rules=["rule"]) is None


def test_a_solver_without_any_row_yet_leaves_nothing_in_common():
    rules = [r for r in ROWS if r.solver == "rule"]
    specs = ["rule", "search"]
    assert summarise(rules, ["decode"], rules=["rule"], specs=specs) is None
    assert summarise(rules, ["decode"], ["rule"], baseline="search", specs=specs) is None


def test_without_rules_there_is_no_baseline():
    summary = summarise(ROWS, ["decode"], rules=[])
    assert summary.baseline is None
    assert paired_table(summary) is None


def test_the_mean_gap_over_time_begins_when_all_instances_have_a_solution():
    courses = {"a": ((1.0, 120.0), (3.0, 110.0)), "b": ((2.0, 130.0), (4.0, 110.0))}
    rows = with_gaps(
        [
            replace(row(name, "search", 110, seconds=5.0), improvements=course)
            for name, course in courses.items()
        ]
    )
    (search,) = summarise(rows, ["decode"], rules=[]).solvers
    seconds, gaps = zip(*search.course, strict=True)
    assert seconds == (2, 3, 4, 5)
    assert gaps == pytest.approx((25, 20, 10, 10))


def test_a_solver_that_does_not_tell_when_it_improves_has_no_course(summary):
    assert [solver.course for solver in summary.solvers] == [(), ()]


def test_tables_show_the_option_in_a_column_of_its_own(summary):
    for table in (quality_table(summary), size_table(summary), paired_table(summary)):
        assert table.columns[:2] == ("solver", "decode")
    assert quality_table(summary).lines[1][:3] == ("rule", "active", "20.00")


def test_a_prefix_is_dropped_only_when_a_column_shows_it():
    assert display_name("active/mwkr", ("active",)) == "mwkr"
    assert display_name("active/on/mwkr:samples=2", ("active", "on")) == "mwkr:samples=2"
    assert display_name("runs/best", ("active",)) == "runs/best"
    assert display_name("late/belady", ("belady", "late")) == "belady"  # the policy's own name
    assert display_name("cp-sat:hint=active/mwkr", ("active",)) == "cp-sat:hint=active/mwkr"


def test_objectives_are_shown_to_the_last_digit():
    (line,) = run_table([replace(ROWS[0], objective=1234567.0, lower_bound=1234566.5)], []).lines
    assert "1,234,567" in line
    assert "1.23457e+06" in line  # of a bound that is no integer, six digits


def test_a_difference_is_significant_only_when_mean_and_majority_agree():
    # the mean is better by one instance alone; most instances are worse
    names = [f"i{i}" for i in range(20)]
    rows = with_gaps(
        [
            *(row(name, "rule", 200) for name in names),
            *(row(name, "search", 80 if i == 0 else 201) for i, name in enumerate(names)),
        ]
    )
    summary = summarise(rows, ["decode"], rules=["rule"])
    assert summary.solvers[0].paired.mean < 0
    assert summary.solvers[0].p_adjusted < 0.05
    assert "not significant" in headline(summary, rows)


def test_further_figures_are_means_over_seeds_then_instances(summary):
    table = metrics_table(summary)
    assert table is not None
    assert table.columns == ("solver", "decode", "energy mJ")
    assert table.lines == (("search", "-", "10.3"), ("rule", "active", "12"))


def test_a_family_without_further_figures_has_no_table_of_them():
    summary = summarise(ROWS, ["decode"], rules=["rule"])
    assert summary is not None
    assert metrics_table(summary) is None
