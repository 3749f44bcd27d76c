"""Pictures exist, differ when they should, and are the same for the same solution."""

from pathlib import Path

import numpy as np

from makespan.baselines.routing.rules import RulePolicy
from makespan.envs.core.rollout import rollout
from makespan.envs.routing.examples import EIGHT
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.render import draw


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
