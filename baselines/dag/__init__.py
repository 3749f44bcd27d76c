"""Rules, heuristics and solvers of the family of task graphs, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.dag.exact import CpSat
from makespan.baselines.dag.lists import RULES as LISTS
from makespan.baselines.dag.lists import ListScheduler
from makespan.baselines.dag.rules import RULES, RulePolicy
from makespan.baselines.linear import LinearPolicy
from makespan.baselines.random import RandomPolicy
from makespan.envs.core.observation import ObservationSpec


def _spec(**options: str) -> ObservationSpec:
    """Of a task graph under ``options``, whatever its size."""
    from makespan.envs.dag.instance import Sizes
    from makespan.envs.dag.problem import DagProblem

    return DagProblem(Sizes(1, 1, 1, 1), **options).spec


def _trained(checkpoint: str = "", device: str = "cpu") -> Any:
    """The shipped policy, or the one in the file ``checkpoint``."""
    from makespan.agents.pretrained import load_trained

    return load_trained("dag", _spec, checkpoint, device)


POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "linear": LinearPolicy,
    "random": RandomPolicy,
    "pretrained": _trained,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(ListScheduler, rule) for rule in LISTS},
    "cp-sat": CpSat,
}
