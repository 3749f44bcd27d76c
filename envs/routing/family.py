"""The routing family: its environments, and its record for the command lines."""

from collections.abc import Sequence
from pathlib import Path

from makespan.envs.core.entry_points import EntryPoints, load_instances
from makespan.envs.core.family import Family, Source
from makespan.envs.routing.generator import RoutingGenerator
from makespan.envs.routing.instance import RoutingInstance
from makespan.envs.routing.kernel import QUEUE_ORDERS, REWARDS
from makespan.envs.routing.problem import RoutingProblem

InstanceSource = RoutingInstance | Sequence[RoutingInstance] | str | Path


def load(source: InstanceSource) -> list[RoutingInstance]:
    """Instances from the name of a worked example, a file, an instance, or several.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither an example nor a file.
    """
    from makespan.envs.routing.examples import load_example
    from makespan.envs.routing.formats import read_instance

    return load_instances(source, RoutingInstance, read_instance, load_example)


def make_problem(
    source: Sequence[RoutingInstance] | RoutingGenerator,
    queue: str = "fcfs",
    reward: str = "integral",
) -> RoutingProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, RoutingGenerator):
        return RoutingProblem(source.largest, queue, reward)
    return RoutingProblem.for_instances(source, queue, reward)


_OPTIONS = {"queue": QUEUE_ORDERS, "reward": REWARDS}
_SIZES = {"num_requests": 200, "num_replicas": 4}
_ENTRY = EntryPoints(load, RoutingGenerator, make_problem, _OPTIONS, _SIZES)
make_env, make_vector_env = _ENTRY.make_env, _ENTRY.make_vector_env


def make_family() -> Family:
    """The record of the routing family."""
    from makespan.baselines.routing import POLICIES, SOLVERS
    from makespan.envs.routing.bounds import lower_bound
    from makespan.envs.routing.formats import (
        TRACE_OPTIONS,
        read_instance,
        read_trace_windows,
        write_solution,
    )
    from makespan.envs.routing.metrics import METRICS
    from makespan.envs.routing.render import draw
    from makespan.envs.routing.suites import SUITES

    return Family(
        name="routing",
        env_ids=("makespan/LLMRouting-v0",),
        make_problem=make_problem,
        problem_options=_OPTIONS,
        generators={"routing": RoutingGenerator(num_requests=(200, 400), num_replicas=(2, 10))},
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=lambda name: None,
        lower_bound=lower_bound,
        draw=draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics=METRICS,
        sources={
            "trace": Source(
                "FILE[:OPTION=VALUE,...]",
                "Trace of requests (of Azure, BurstGPT, Mooncake, or with the columns arrival_s, "
                "prompt_tokens, output_tokens); options: "
                + ", ".join(TRACE_OPTIONS)
                + "; rate is how many times faster than in the trace they arrive.",
                read_trace_windows,
            )
        },
    )
