"""The family of task graphs: its environments, and its record for the command lines."""

from collections.abc import Sequence
from pathlib import Path

from makespan.envs.core.entry_points import EntryPoints, load_instances
from makespan.envs.core.family import Family
from makespan.envs.dag.generator import LayeredGenerator, StructuredGenerator
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.problem import OPTIONS, DagProblem

InstanceSource = TaskGraphInstance | Sequence[TaskGraphInstance] | str | Path
GENERATORS = (LayeredGenerator, StructuredGenerator)


def load(source: InstanceSource) -> list[TaskGraphInstance]:
    """Instances from a name (``"heft-2002"``), a file path, an instance, or several.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither known nor a file.
    """
    from makespan.envs.dag.formats import read_instance
    from makespan.envs.dag.suites import load_instance

    return load_instances(source, TaskGraphInstance, read_instance, load_instance)


def make_problem(
    source: Sequence[TaskGraphInstance] | LayeredGenerator | StructuredGenerator, **modes: str
) -> DagProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, GENERATORS):
        return DagProblem(source.largest, **modes)
    return DagProblem.for_instances(source, **modes)


_ENTRY = EntryPoints(load, LayeredGenerator, make_problem, OPTIONS)
make_env, make_vector_env = _ENTRY.make_env, _ENTRY.make_vector_env


def make_family() -> Family:
    """The record of the family of task graphs."""
    from makespan.baselines.dag import POLICIES, SOLVERS
    from makespan.envs.dag.bounds import (
        best_known,
        longest_span,
        lower_bound,
        schedule_length_ratio,
    )
    from makespan.envs.dag.formats import read_instance, write_solution
    from makespan.envs.dag.render import draw
    from makespan.envs.dag.suites import SUITES

    return Family(
        name="dag",
        env_ids=("makespan/DagScheduling-v0",),
        make_problem=make_problem,
        problem_options=OPTIONS,
        generators={
            "dag": LayeredGenerator(),
            "structured-dag": StructuredGenerator(size=(3, 4)),
        },
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics={"SLR": schedule_length_ratio, "longest span": longest_span},
    )
