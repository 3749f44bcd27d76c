"""Rules and solvers of the job-shop family, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.jobshop.exact import CpSat
from makespan.baselines.jobshop.rules import RULES, RulePolicy
from makespan.baselines.jobshop.tabu import TabuSearch
from makespan.baselines.random import RandomPolicy

POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "random": RandomPolicy,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {"cp-sat": CpSat, "tabu": TabuSearch}
