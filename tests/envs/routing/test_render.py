"""Pictures exist, differ when they should, and are the same for the same solution."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from makespan.baselines.routing.rules import RulePolicy
from makespan.envs.core.rollout import rollout
from makespan.envs.routing import render
from makespan.envs.routing.examples import EIGHT, example
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.render import draw
from makespan.envs.routing.replay import Decisions, replay


def test_a_timeline_is_drawn(tmp_path: Path) -> None:
    problem = RoutingProblem.for_instances([EIGHT])
    rules = (RulePolicy("jsq"), RulePolicy("bin-packing"))
    rng = np.random.default_rng(0)
    solutions = [rollout(problem, [EIGHT], rule, rng)[0] for rule in rules]
    pictures = []
    for name, solution in (("a", solutions[0]), ("b", solutions[0]), ("c", solutions[1])):
        path = tmp_path / f"{name}.png"
        draw(EIGHT, solution, path, policy="rule", lower_bound=0.5)  # type: ignore[arg-type]
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]
    draw(EIGHT, solutions[0], tmp_path / "d.svg")  # type: ignore[arg-type]
    assert "<svg" in (tmp_path / "d.svg").read_text()


def test_the_batch_counts_prompts_that_are_processed() -> None:
    """Five prompts at once are a batch of five, as are their five decodes after it."""
    instance = example("batch", [(0.0, 10, 2)] * 5)
    sent = Decisions(np.zeros(5, int), np.arange(5), np.zeros(5), np.full(5, -1))
    iterations = replay(instance, sent, detail=True).iterations
    assert [(it.prefill, it.decodes, it.batch) for it in iterations] == [(50, 0, 5), (0, 5, 5)]


def test_pools_decode_where_they_were_moved_to(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, list[float], list[float]]] = []
    monkeypatch.setattr(
        render,
        "_steps",
        lambda axes, start, end, colour: drawn.append((colour, start.tolist(), end.tolist())),
    )
    record: dict[str, NDArray[Any]] = {
        "replica": np.array([0, 0]),
        "decoder": np.array([1, -1]),
        "release": np.array([0.0, 1.0]),
        "first_token": np.array([2.0, np.nan]),
        "end": np.array([np.nan, np.nan]),
    }
    render.rgb_array(record, arrival=np.array([0.0, 1.0]), num_replicas=2, now=3.0)
    assert drawn == [
        (render.QUEUE, [0.0, 1.0], [2.0, 3.0]),
        (render.BATCH, [3.0], [3.0]),  # without a first token: nothing yet
        (render.QUEUE, [], []),
        (render.BATCH, [2.0], [3.0]),
    ]
