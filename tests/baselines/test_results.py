"""The results file survives crashes and names what is wrong; gaps follow their definition."""

import math
from dataclasses import replace

import pytest

from makespan.baselines.results import (
    ResultsFile,
    Row,
    find_contradictions,
    gap_percent,
    with_gaps,
)
from makespan.envs.core.errors import UsageError

METRICS = ("energy mJ", "p95 s")
ROW = Row(
    instance="x, y",
    instance_hash="abc",
    size="2x2",
    solver="cp-sat:workers=1",
    options=("active",),
    seed=3,
    time_limit_s=0.5,
    weights_hash="",
    objective=12.0,
    metrics=(0.25, math.nan),
    lower_bound=10.0,
    best_known_lower=None,
    best_known_upper=None,
    best_known_as_of="",
    gap_percent=math.nan,
    gap_to="",
    seconds=0.1 + 0.2,
    status="feasible",
    version="1",
    hardware="two cores",
)


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "results.csv"
    file = ResultsFile(path, ["decode"], METRICS)
    other = replace(
        ROW,
        time_limit_s=None,
        best_known_upper=11.0,
        gap_percent=2.5,
        improvements=((0.125, 14.0), (0.25, 12.5)),
    )
    file.append(ROW)
    file.append(other)
    again = ResultsFile(path, ["decode"], METRICS).rows
    # NaN is not equal to itself
    assert [replace(row, gap_percent=0, metrics=()) for row in again] == [
        replace(ROW, gap_percent=0, metrics=()),
        replace(other, gap_percent=0, metrics=()),
    ]
    assert again[0].metrics[0] == 0.25
    assert math.isnan(again[0].metrics[1])
    assert math.isnan(again[0].gap_percent)
    assert again[1].gap_percent == 2.5


@pytest.mark.parametrize("lost", [1, 2, 20, 60])
def test_a_line_cut_short_by_a_crash_is_dropped(tmp_path, lost):
    path = tmp_path / "results.csv"
    file = ResultsFile(path, ["decode"], METRICS)
    file.append(ROW)
    file.append(ROW)
    path.write_bytes(path.read_bytes()[:-lost])
    resumed = ResultsFile(path, ["decode"], METRICS)
    assert len(resumed.rows) == 1
    resumed.append(ROW)
    assert len(ResultsFile(path, ["decode"], METRICS).rows) == 2


def test_a_damaged_cell_is_named(tmp_path):
    path = tmp_path / "results.csv"
    ResultsFile(path, ["decode"], METRICS).append(ROW)
    path.write_text(path.read_text().replace(",12,", ",twelve,"))
    with pytest.raises(UsageError, match=r"line 2: column objective: found 'twelve', expected a n"):
        ResultsFile(path, ["decode"], METRICS)


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "results.csv"
    ResultsFile(path, ["decode"], METRICS).append(ROW)
    with pytest.raises(UsageError, match="choose another --out"):
        ResultsFile(path, ["view"])


def test_gap():
    assert gap_percent(110, 100) == pytest.approx(10)
    assert gap_percent(0, 0) == 0
    assert math.isnan(gap_percent(1, 0))


def test_gap_is_to_the_published_bound_else_the_best_lower_bound_else_the_best_objective():
    better = replace(ROW, solver="b", lower_bound=11.0, objective=11.0)
    assert [row.gap_percent for row in with_gaps([ROW, better])] == pytest.approx([100 / 11, 0])
    assert {row.gap_to for row in with_gaps([ROW, better])} == {"lower bound"}

    published = replace(ROW, best_known_upper=10.0, best_known_as_of="2020-02-20")
    assert with_gaps([published])[0].gap_percent == pytest.approx(20)
    assert with_gaps([published])[0].gap_to == "best known UB 2020-02-20"

    unbounded = [replace(row, lower_bound=0.0) for row in (ROW, better)]
    assert [row.gap_percent for row in with_gaps(unbounded)] == pytest.approx([100 / 11, 0])
    assert {row.gap_to for row in with_gaps(unbounded)} == {"best in this run"}


def test_a_valid_solution_below_a_bound_is_a_contradiction():
    assert find_contradictions([ROW]) == []
    proud = replace(ROW, solver="proud", objective=20.0, lower_bound=13.0)
    (sentence,) = find_contradictions([ROW, proud])
    assert sentence == (
        "x, y: the lower bound of proud is 13, yet cp-sat:workers=1 has a valid solution of 12"
    )
    (sentence,) = find_contradictions([replace(ROW, best_known_lower=12.5)])
    assert "the published lower bound is 12.5" in sentence
