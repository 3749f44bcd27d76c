"""The family of streams on a system on chip: environments, and its record for the command lines."""

from collections.abc import Sequence
from pathlib import Path

from makespan.envs.core.entry_points import EntryPoints, load_instances
from makespan.envs.core.family import Family
from makespan.envs.soc.generator import StreamGenerator
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.kernel import BINDING_MODES, PROCESSOR_MODES
from makespan.envs.soc.problem import StreamProblem

InstanceSource = StreamInstance | Sequence[StreamInstance] | str | Path


def load(source: InstanceSource) -> list[StreamInstance]:
    """Streams from a name (``"ds3-cpu/load-0.5-03"``, ``"toy/Top_1"``), a file, or instances.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither known nor a file.
    """
    from makespan.envs.soc.formats import read_instance
    from makespan.envs.soc.suites import load_instance

    return load_instances(source, StreamInstance, read_instance, load_instance)


def make_problem(
    source: Sequence[StreamInstance] | StreamGenerator,
    binding: str = "late",
    processors: str = "distinct",
) -> StreamProblem:
    """The problem sized for the given streams, or for all that a generator can give."""
    if isinstance(source, StreamGenerator):
        return StreamProblem(source.largest, binding, processors)
    return StreamProblem.for_instances(source, binding, processors)


_OPTIONS = {"binding": BINDING_MODES, "processors": PROCESSOR_MODES}
_ENTRY = EntryPoints(load, StreamGenerator, make_problem, _OPTIONS)
make_env, make_vector_env = _ENTRY.make_env, _ENTRY.make_vector_env


def make_family() -> Family:
    """The record of the family."""
    from makespan.baselines.soc import POLICIES, SOLVERS
    from makespan.envs.soc.bounds import lower_bound
    from makespan.envs.soc.formats import read_instance, write_solution
    from makespan.envs.soc.metrics import METRICS
    from makespan.envs.soc.platform import PRESETS
    from makespan.envs.soc.render import draw
    from makespan.envs.soc.suites import SUITES

    return Family(
        name="soc",
        env_ids=("makespan/SoC-v0",),
        make_problem=make_problem,
        problem_options=_OPTIONS,
        generators={
            "soc": StreamGenerator(
                tuple(PRESETS), jobs=(20, 40), load=(0.3, 1.2), noise=(0.0, 0.3), variation=0.3
            )
        },
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=lambda name: None,
        lower_bound=lower_bound,
        draw=draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics=METRICS,
    )
