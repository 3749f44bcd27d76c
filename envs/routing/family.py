"""The routing family: its environments, and its record for the command lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import Family, Source
from makespan.envs.core.problem import FixedInstances, Generator
from makespan.envs.core.vector_env import SchedulingVectorEnv
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
    if isinstance(source, RoutingInstance):
        return [source]
    if not isinstance(source, str | Path):
        return list(source)
    from makespan.envs.routing.examples import load_example
    from makespan.envs.routing.formats import read_instance

    path = Path(source)
    looks_like_file = path.suffix or len(path.parts) > 1 or path.is_file()
    return [read_instance(path) if looks_like_file else load_example(str(source))]


def _parts(
    instance: InstanceSource | None, queue: str, reward: str, options: dict[str, Any]
) -> tuple[RoutingProblem, Generator[RoutingInstance]]:
    """Problem and source of instances of an environment."""
    if instance is None:
        source = RoutingGenerator(**{"num_requests": 200, "num_replicas": 4, **options})
        return RoutingProblem(source.largest, queue, reward), source
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: not with a fixed instance")
    instances = load(instance)
    return RoutingProblem.for_instances(instances, queue, reward), FixedInstances(instances)


def make_env(
    instance: InstanceSource | None = None,
    queue: str = "fcfs",
    reward: str = "integral",
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingEnv[RoutingInstance]:
    """``makespan/LLMRouting-v0`` as a single environment.

    Args:
        instance: fixed: the name of an example, a file, an instance; or several to draw from.
        queue: order of the queue at the replicas, see :mod:`makespan.envs.routing.replay`.
        reward: how the cost is spread over decisions, see :mod:`makespan.envs.routing.kernel`.
        observation, illegal_action, render_mode: see :class:`SchedulingEnv`.
        options: of the generator, e.g. ``num_requests=(200, 400), num_replicas=8,
            workload="mooncake"``.
    """
    problem, source = _parts(instance, queue, reward, options)
    return SchedulingEnv(problem, source, observation, illegal_action, render_mode)


def make_vector_env(
    num_envs: int,
    instance: InstanceSource | None = None,
    queue: str = "fcfs",
    reward: str = "integral",
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    autoreset_mode: Any = "NextStep",
    copy: bool = True,
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingVectorEnv:
    """The same as a native vector environment; arguments as for :func:`make_env`."""
    problem, source = _parts(instance, queue, reward, options)
    return SchedulingVectorEnv(
        num_envs, problem, source, observation, illegal_action, autoreset_mode, copy, render_mode
    )


def _draw(instance: Any, solution: Any, path: Path, **options: Any) -> None:
    from makespan.envs.routing.render import draw  # matplotlib takes a second to import

    draw(instance, solution, path, **options)


def make_problem(
    source: Sequence[RoutingInstance] | RoutingGenerator,
    queue: str = "fcfs",
    reward: str = "integral",
) -> RoutingProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, RoutingGenerator):
        return RoutingProblem(source.largest, queue, reward)
    return RoutingProblem.for_instances(source, queue, reward)


def make_family() -> Family:
    """The record of the routing family."""
    from makespan.baselines.routing import POLICIES, SOLVERS
    from makespan.envs.routing.bounds import lower_bound
    from makespan.envs.routing.formats import read_instance, read_trace_windows, write_solution
    from makespan.envs.routing.metrics import METRICS
    from makespan.envs.routing.suites import SUITES

    return Family(
        name="routing",
        env_ids=("makespan/LLMRouting-v0",),
        make_problem=make_problem,
        problem_options={"queue": QUEUE_ORDERS, "reward": REWARDS},
        generators={"routing": RoutingGenerator(num_requests=(200, 400), num_replicas=(2, 10))},
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=lambda name: None,
        lower_bound=lower_bound,
        draw=_draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics=METRICS,
        sources={
            "trace": Source(
                "FILE[:OPTION=VALUE,...]",
                "Trace of requests (columns of Azure, BurstGPT or Mooncake); options: fleet, load, "
                "rate, requests, windows, part, memory, predictor, error, cache.",
                read_trace_windows,
            )
        },
    )
