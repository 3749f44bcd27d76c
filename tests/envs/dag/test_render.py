"""Pictures and traces: what is in them, and equal bytes for equal arguments."""

from pathlib import Path

import numpy as np
import pytest

from makespan.baselines.dag.lists import ListScheduler
from makespan.envs.dag.bounds import best_known
from makespan.envs.dag.examples import HEFT_2002
from makespan.envs.dag.generator import LayeredGenerator
from makespan.envs.dag.render import chrome_trace, draw, rgb_array
from makespan.tests.trace_format import check_trace

SOLUTION = ListScheduler("heft").solve(HEFT_2002).solution


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_equal_arguments_give_equal_files(tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
    for file in files:
        draw(HEFT_2002, SOLUTION, file, policy="heft", best_known=best_known("heft-2002"))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_picture_says_what_it_shows(tmp_path: Path) -> None:
    from matplotlib import rc_context

    path = tmp_path / "chart.svg"
    with rc_context({"svg.fonttype": "none"}):
        draw(HEFT_2002, SOLUTION, path, policy="heft", best_known=best_known("heft-2002"))
    text = path.read_text()
    for words in (
        "heft-2002 (10 tasks, 3 processors), heft",
        "gap 9.59 % to 73, the optimum",
        "makespan 80",
        "lower bound 73",
        "9 transfers",
        "<!-- T10 -->",
        "<!-- P3 -->",
    ):
        assert words in text


def test_a_large_schedule_is_drawn_without_arrows(tmp_path: Path) -> None:
    instance = LayeredGenerator(tasks=300, processors=8).sample(np.random.default_rng(0))
    path = tmp_path / "large.svg"
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        draw(instance, ListScheduler("mct").solve(instance).solution, path)
    assert "transfers not drawn" in path.read_text()


def test_pixels_of_an_empty_and_a_full_schedule() -> None:
    columns = {name: getattr(SOLUTION, name) for name in ("tasks", "processors", "starts", "ends")}
    empty = {name: column[:0] for name, column in columns.items()}
    sizes = {"num_tasks": 10, "num_processors": 3}
    pictures = [rgb_array(empty, **sizes), rgb_array(columns, **sizes, lower_bound=54)]
    assert pictures[0].shape == pictures[1].shape
    assert pictures[0].dtype == np.uint8
    assert not np.array_equal(*pictures)


def test_the_trace_holds_every_task_and_every_transfer() -> None:
    trace = chrome_trace(HEFT_2002, SOLUTION)
    check_trace(trace)
    events = trace["traceEvents"]
    threads = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert threads == {0: "P1", 1: "P2", 2: "P3"}
    tasks = {e["name"]: (threads[e["tid"]], e["ts"], e["ts"] + e["dur"])
             for e in events if e["ph"] == "X"}  # fmt: skip
    assert len(tasks) == 10
    assert tasks["T9"] == ("P2", 56, 68)
    on = dict(zip(SOLUTION.tasks.tolist(), SOLUTION.processors.tolist(), strict=True))
    arrows = sum(event["ph"] == "s" for event in events)
    assert arrows == sum(on[u] != on[v] for u, v in HEFT_2002.edges.tolist())
