"""Rules and solvers of the memory-mapping family, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.linear import LinearPolicy
from makespan.baselines.memory.exact import CpSat
from makespan.baselines.memory.hybrid import Hybrid
from makespan.baselines.memory.local_search import LocalSearch
from makespan.baselines.memory.msa import MemorySpaceAssignment
from makespan.baselines.memory.relaxed import MixedInteger
from makespan.baselines.memory.rules import RULES, RulePolicy
from makespan.baselines.random import RandomPolicy
from makespan.envs.core.observation import ObservationSpec


def _spec(**options: str) -> ObservationSpec:
    """Of the game under ``options``, whatever its size."""
    from makespan.envs.memory.instance import Sizes
    from makespan.envs.memory.problem import MemoryProblem

    return MemoryProblem(Sizes(1, 1, 1), **options).spec


def _trained(checkpoint: str = "", device: str = "cpu") -> Any:
    """The shipped policy, or the one in the file ``checkpoint``."""
    from makespan.agents.pretrained import load_trained

    return load_trained("memory", _spec, checkpoint, device)


POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "linear": LinearPolicy,
    "random": RandomPolicy,
    "pretrained": _trained,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {
    "msa": MemorySpaceAssignment,
    "hybrid": Hybrid,
    "milp": MixedInteger,
    "local-search": LocalSearch,
    "cp-sat": CpSat,
}
