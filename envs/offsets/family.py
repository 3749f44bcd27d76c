"""The offset-allocation family: its environment, and its record for the command lines."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from makespan.envs.core.entry_points import EntryPoints, load_instances
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import Family, Source
from makespan.envs.offsets.generator import OffsetGenerator
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.kernel import DECODE_MODES
from makespan.envs.offsets.problem import OffsetProblem

InstanceSource = OffsetInstance | Sequence[OffsetInstance] | str | Path


def load(source: InstanceSource, capacity: int | None = None) -> list[OffsetInstance]:
    """Instances from a suite's instance (``"cuts-3"``), a file path, an instance, or several.

    Args:
        source: what to load.
        capacity: of the memory in bytes: a peak within it is as good as can be.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither an instance nor a file.
    """
    from makespan.envs.offsets.formats import read_instance
    from makespan.envs.offsets.suites import load_instance

    instances = load_instances(source, OffsetInstance, read_instance, load_instance)
    if capacity is None:
        return instances
    return [replace(one, capacity=capacity) for one in instances]


def make_problem(
    source: Sequence[OffsetInstance] | OffsetGenerator, decode: str = "active"
) -> OffsetProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, OffsetGenerator):
        return OffsetProblem(source.largest, decode)
    return OffsetProblem.for_instances(source, decode)


def _read_with_capacity(text: str) -> list[OffsetInstance]:
    """The instance of ``"BYTES:FILE"``."""
    from makespan.envs.offsets.formats import read_instance

    capacity, colon, path = text.partition(":")
    if not colon or not capacity.isdecimal() or len(capacity) > 18 or not int(capacity):
        raise UsageError(f"--fit: found {text!r}, expected BYTES:FILE, e.g. 1048576:buffers.csv")
    return [read_instance(path, capacity=int(capacity))]


_OPTIONS = {"decode": DECODE_MODES}
_ENTRY = EntryPoints(load, OffsetGenerator, make_problem, _OPTIONS, instance_options=("capacity",))
make_env, make_vector_env = _ENTRY.make_env, _ENTRY.make_vector_env


def make_family() -> Family:
    """The record of the offset-allocation family."""
    from makespan.baselines.offsets import POLICIES, SOLVERS
    from makespan.envs.offsets.bounds import best_known, lower_bound
    from makespan.envs.offsets.formats import read_instance, write_solution
    from makespan.envs.offsets.render import draw
    from makespan.envs.offsets.suites import SUITES

    return Family(
        name="offsets",
        env_ids=("makespan/OffsetAllocation-v0",),
        make_problem=make_problem,
        problem_options=_OPTIONS,
        generators={"offsets": OffsetGenerator(buffers=(100, 200))},
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics={
            "peak (bytes)": lambda instance, solution: float(solution.peak(instance)),
            "peak / load": lambda instance, solution: solution.peak(instance) / instance.max_load,
        },
        sources={
            "fit": Source(
                "BYTES:FILE",
                "Your own instance and the capacity of its memory: a peak within it is optimal.",
                _read_with_capacity,
            )
        },
    )
