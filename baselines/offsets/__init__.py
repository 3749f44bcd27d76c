"""Rules and solvers of the offset-allocation family, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.linear import LinearPolicy
from makespan.baselines.offsets.beam import IteratedBeam
from makespan.baselines.offsets.exact import CpSat
from makespan.baselines.offsets.greedy import Greedy
from makespan.baselines.offsets.local_search import LocalSearch
from makespan.baselines.offsets.rules import RULES, RulePolicy
from makespan.baselines.random import RandomPolicy
from makespan.envs.core.observation import ObservationSpec


def _spec(**options: str) -> ObservationSpec:
    """Of an offset allocation under ``options``, whatever its size."""
    from makespan.envs.offsets.instance import Sizes
    from makespan.envs.offsets.problem import OffsetProblem

    return OffsetProblem(Sizes(1, 1), **options).spec


def _trained(checkpoint: str = "", device: str = "cpu") -> Any:
    """The shipped policy, or the one in the file ``checkpoint``."""
    from makespan.agents.pretrained import load_trained

    return load_trained("offsets", _spec, checkpoint, device)


POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "linear": LinearPolicy,
    "random": RandomPolicy,
    "pretrained": _trained,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {
    "greedy": Greedy,
    "local-search": LocalSearch,
    "hill-climbing": partial(LocalSearch, climb=True),
    "iterated-beam": IteratedBeam,
    "cp-sat": CpSat,
}
