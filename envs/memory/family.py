"""The memory-mapping family: its environment, and its record for the command lines."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from makespan.envs.core.entry_points import EntryPoints, load_instances
from makespan.envs.core.family import Family, Source
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.problem import OPTIONS, MemoryProblem

InstanceSource = MemoryInstance | Sequence[MemoryInstance] | str | Path


def load(source: InstanceSource, copy_model: str | None = None) -> list[MemoryInstance]:
    """Instances from a benchmark name, a file path, an instance, or several.

    Args:
        source: what to load.
        copy_model: ``"static"`` or ``"dynamic"``; None: as each instance has it.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither a benchmark nor a file.
    """
    from makespan.envs.memory.formats import read_instance
    from makespan.envs.memory.suites import load_instance

    instances = load_instances(source, MemoryInstance, read_instance, load_instance)
    if copy_model is None:
        return instances
    return [replace(given, copy_model=copy_model) for given in instances]


def make_problem(
    source: Sequence[MemoryInstance] | MemoryGenerator, **options: str
) -> MemoryProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, Sequence):
        return MemoryProblem.for_instances(source, **options)
    return MemoryProblem(source.largest, **options)


def _from_module(text: str, training: bool = False) -> list[MemoryInstance]:
    """Instances of ``package.module:factory``, ``...@hardware`` or ``...@hardware-percent``.

    The capacity is that of the hardware, or the percentage of the program's maximum load; without
    hardware, every share of the suites.
    """
    from makespan.envs.memory.suites import CAPACITY_SHARES, SUITE_HARDWARE, split_name
    from makespan.envs.memory.trace import load_factory, trace_module

    target, hardware, share = split_name(text)
    option = "--training-module" if training else "--module"
    module, arguments = load_factory(target, option)
    name = target.rpartition(":")[2] + ("-train" if training else "")
    program = trace_module(module, arguments, training=training, name=name)
    shares = CAPACITY_SHARES if hardware is None else (share,)
    return [program.on(hardware or SUITE_HARDWARE, share) for share in shares]


_ENTRY = EntryPoints(load, MemoryGenerator, make_problem, OPTIONS, instance_options=("copy_model",))
make_env, make_vector_env = _ENTRY.make_env, _ENTRY.make_vector_env


def make_family() -> Family:
    """The record of the memory-mapping family."""
    from makespan.baselines.memory import POLICIES, SOLVERS
    from makespan.envs.memory.bounds import best_known, lower_bound
    from makespan.envs.memory.formats import read_instance, write_solution
    from makespan.envs.memory.render import draw
    from makespan.envs.memory.suites import SUITES

    return Family(
        name="memory",
        env_ids=("makespan/MemoryMapping-v0",),
        make_problem=make_problem,
        problem_options=OPTIONS,
        generators={"memory": MemoryGenerator()},
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics={
            "all slow": lambda instance, plan: float(instance.all_slow),
            "static": lambda instance, plan: float(plan.latency(instance, "static")),
            "dynamic": lambda instance, plan: float(plan.latency(instance, "dynamic")),
        },
        sources={
            "module": Source(
                "PACKAGE.MODULE:FACTORY[@HARDWARE[-PERCENT]]",
                "A function that returns a torch module and a tuple of example inputs; capacity in "
                "percent of the maximum load, else the hardware's own.",
                _from_module,
            ),
            "training_module": Source(
                "PACKAGE.MODULE:FACTORY[@HARDWARE[-PERCENT]]",
                "The same with the gradients of the mean of its outputs.",
                partial(_from_module, training=True),
            ),
        },
    )
