"""LLM routing: speed, comparisons chosen on validation, sweeps, and the goodput curve.

    python benchmarks/routing.py speed
    python benchmarks/routing.py decision
    python benchmarks/routing.py compare --azure conv.csv --mooncake conversation.jsonl
    python benchmarks/routing.py sweep --over load
    python benchmarks/routing.py goodput

``compare`` chooses the best published heuristic of each setting on its validation instances, then
compares on the test instances, once: paired differences of mean end-to-end latencies with 95 %
bootstrap intervals.
Everything reported is validated. ``--policy FILE`` takes another checkpoint than the shipped one.
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from makespan.agents import pretrained
from makespan.agents.export import NumpyPolicy, export_policy
from makespan.baselines.registry import parse_spec
from makespan.baselines.routing import POLICIES
from makespan.baselines.routing.goodput import goodput
from makespan.baselines.routing.linear import LinearPolicy
from makespan.baselines.statistics import bootstrap_interval
from makespan.benchmarks.common import FOLDER, machine, print_table, write_results
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.routing.family import make_problem
from makespan.envs.routing.formats import PARTS, at_load, read_trace, trace_windows
from makespan.envs.routing.instance import Fleet, RoutingInstance
from makespan.envs.routing.kernel import CANDIDATE_FEATURES, GLOBAL_FEATURES
from makespan.envs.routing.suites import RECIPES, SUITES, TEST_SEED, draw
from makespan.envs.routing.workloads import predict

#: Rules published by others, among which the best is chosen on validation.
PUBLISHED = (
    *("round-robin", "jsq", "vllm", "least-tokens", "least-prompts", "power-of-two"),
    *("max-capacity", "min-memory", "min-min", "bin-packing", "session", "cache-aware", "aibrix"),
    *("dynamo", "llm-d", "d2lpm", "llumnix", "lmetric"),
)
OURS = ("marginal", "central-queue")
#: Checkpoint of the shipped policy.
SHIPPED = Path(pretrained.__file__).with_name("routing.safetensors")
PACKAGES = ("makespan", "numpy", "numba", "torch")


def policy(name: str, checkpoint: str) -> Any:
    """A policy by its specification; ``pretrained`` from the given checkpoint, if any."""
    spec = parse_spec(name)
    options = {"checkpoint": checkpoint} if name == "pretrained" else spec.options
    return POLICIES[spec.name](**options)


def latencies(
    instances: Sequence[RoutingInstance], name: str, checkpoint: str = "", check: bool = True
) -> NDArray[np.float64]:
    """(instances, 2) mean end-to-end latency and episode time, of solutions that are validated."""
    chosen = policy(name, checkpoint)
    problem = make_problem(instances, **chosen.requires)
    solutions: list[Any] = rollout(problem, instances, chosen, np.random.default_rng(0))
    found = []
    for instance, solution in zip(instances, solutions, strict=True):
        if check:
            solution.validate(instance)
        episode = float(solution.end.max() - instance.arrival[0])
        found.append((solution.objective(instance), episode))
    return np.array(found)


def reduction(values: NDArray[np.float64], baseline: NDArray[np.float64]) -> str:
    """How much lower in per cent, the mean of paired ratios with its interval."""
    percent = 100 * (1 - values / baseline)
    interval = bootstrap_interval(percent)
    return f"{percent.mean():+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"


def speed(requests: int = 3000, rounds: int = 5) -> None:
    """Simulated requests a second of CPU time: Azure conversation lengths on four replicas.

    Args:
        requests: of the stream.
        rounds: the median counts.
    """
    recipe = dataclasses.replace(
        RECIPES["homogeneous"], num_requests=requests, load=(0.5, 0.5), max_holds=0
    )
    instance = draw("speed", recipe, TEST_SEED, 1)[0]
    rows = []
    for batch in (1, 16, 64):
        problem = make_problem([instance])
        state, observation = problem.allocate(batch), problem.spec.allocate(batch)
        actions, rewards = np.zeros(batch, dtype=np.int64), np.zeros(batch)
        terminated = np.zeros(batch, dtype=np.bool_)
        step = problem.bind_step(state, observation, actions, rewards, terminated)
        figures = []
        for _ in range(rounds + 1):  # the first compiles
            for row in range(batch):
                problem.load(state, observation, row, instance)
            terminated[:] = False
            started, wall = time.process_time(), time.perf_counter()
            for count in range(requests):
                actions[:] = 1 + count % instance.num_replicas
                step()
            spent = time.process_time() - started
            figures.append((batch * requests / spent, time.perf_counter() - wall))
        assert terminated.all()
        per_second = statistics.median(figure for figure, _ in figures[1:])
        rows.append({"rows": batch, "requests / CPU s": per_second})
    print_table("Simulated requests per CPU second, features of all candidates included", rows)
    write_results("routing_speed", rows, machine(PACKAGES))


def decision(policy: str = "", replicas: int = 4, rounds: int = 2000) -> None:
    """Microseconds of CPU time for a decision of the exported policy, median of ten parts.

    Args:
        policy: checkpoint; empty for the shipped one.
        replicas: to choose among.
        rounds: decisions of a part.
    """
    rng = np.random.default_rng(0)
    legal = np.ones(1 + replicas, dtype=np.bool_)
    candidates = rng.random((1 + replicas, len(CANDIDATE_FEATURES))).astype(np.float32)
    whole = rng.random(len(GLOBAL_FEATURES)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.npz"
        export_policy(Path(policy) if policy else SHIPPED, file)
        scores = NumpyPolicy.load(file).scores
    parts = []
    for _ in range(10):
        started = time.process_time()
        for _ in range(rounds):
            scores(candidates, whole, legal)
        parts.append((time.process_time() - started) / rounds * 1e6)
    rows = [{"replicas": replicas, "us": statistics.median(parts)}]
    print_table("CPU time of a decision, numpy alone", rows)
    write_results("routing_decision", rows, machine(PACKAGES))


def _settings(
    azure: str, mooncake: str, count: int, requests: int
) -> Mapping[str, Mapping[str, Any]]:
    """Validation and test instances by the name of the setting."""
    settings: dict[str, dict[str, list[RoutingInstance]]] = {
        name: {
            "validation": SUITES[f"{name}-validation"]()[: count // 2],
            "test": SUITES[name]()[:count],
        }
        for name in RECIPES
    }
    a100, h100 = "a100/llama-2-7b/1", "h100/llama-2-7b/1"
    traces: dict[str, tuple[str, list[str], float, dict[str, Any]]] = {
        "azure": (azure, 4 * [a100], 1.0, {}),
        "azure-heterogeneous": (azure, 3 * [a100] + 2 * [h100], 0.5, {}),
        "mooncake": (
            mooncake,
            4 * ["a100/llama-3.1-8b/1"],
            1.0,
            {"prefix_cache": True, "hold_s": 0.5, "max_holds": 120},
        ),
    }
    for name, (file, presets, memory, options) in traces.items():
        if not file:
            continue
        trace, fleet = read_trace(file), Fleet.of(presets, kv_share=memory)
        settings[name] = {
            part: trace_windows(
                trace.during(*PARTS[part], name=f"{name}-{part}"),
                fleet,
                requests=requests,
                windows=windows,
                load=0.8,
                **options,
            )
            for part, windows in (("validation", count // 2), ("test", count))
        }
    return settings


def compare(
    azure: str = "",
    mooncake: str = "",
    policy: str = "",
    count: int = 24,
    requests: int = 60,
    settings: tuple[str, ...] = (),
) -> None:
    """The trained policy against the best published heuristic, chosen on validation.

    Args:
        azure, mooncake: traces of a person's own; left out when not given.
        policy: checkpoint; empty for the shipped one.
        count: test instances of a setting; half as many choose the heuristic.
        requests: of each instance cut from a trace.
        settings: which; all when empty.

    Raises:
        UsageError: for a count below 2.
        UnknownNameError: for a setting that there is not, or not without its trace.
    """
    if count < 2:
        raise UsageError(f"count: found {count}, expected at least 2")
    known = _settings(azure, mooncake, count, requests)
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting (of a trace: with its file)", name, known)
    rows = []
    for name in settings or known:
        parts = known[name]
        scores = {
            rule: latencies(parts["validation"], rule, check=False)[:, 0].mean()
            for rule in PUBLISHED
        }
        best = min(scores, key=scores.__getitem__)
        test = parts["test"]
        found = {rule: latencies(test, rule) for rule in ("round-robin", "least-tokens", *OURS)}
        found["best"] = latencies(test, best)
        found["pretrained"] = latencies(test, "pretrained", policy)
        learnt = name.removesuffix("-8")  # twice the replicas: the same weights
        if learnt in LinearPolicy.shipped:
            found["linear"] = latencies(test, f"linear:weights={learnt}")
        row: dict[str, Any] = {"setting": name, "windows": len(test), "best heuristic": best}
        for rule in ("round-robin", "least-tokens", "best", *OURS, "pretrained", "linear"):
            means = found[rule].mean(axis=0).tolist() if rule in found else ("", "")
            row[f"{rule} s"], row[f"{rule} episode s"] = means
        for router in ("pretrained", "linear"):
            for measure, other in (
                *((0, rule) for rule in ("best", "central-queue", "round-robin")),
                (1, "round-robin"),
            ):
                text = f"{router}{' episode' * measure} lower than {other} %"
                row[text] = ""
                if router in found:
                    row[text] = reduction(found[router][:, measure], found[other][:, measure])
        rows.append(row)
        print(row, flush=True)
    about = {**machine(PACKAGES), "policy": policy or "shipped"}
    write_results("routing_compare", rows, about)


def sweep(
    over: Literal["load", "error", "stale"] = "load",
    policy: str = "",
    count: int = 12,
    recipe: str = "heterogeneous",
) -> None:
    """Mean latency as one condition of a recipe varies, the requests staying the same.

    Args:
        over: arrival rate over capacity, share of wrong predictions, or seconds between reports.
        policy: checkpoint; empty for the shipped one.
        count: instances.
        recipe: a key of :data:`makespan.envs.routing.suites.RECIPES`.
    """
    instances = draw(recipe, RECIPES[recipe], TEST_SEED, count)
    values = {
        "load": (0.5, 0.7, 0.8, 0.9, 1.0, 1.1),
        "error": (0.0, 0.2, 0.4, 0.6, 1.0),
        "stale": (0.0, 0.1, 0.5, 1.0, 2.0),
    }
    rows = []
    for value in values[over]:
        changed = [_changed(instance, over, value) for instance in instances]
        row: dict[str, Any] = {over: value}
        for name in ("round-robin", "jsq", "least-tokens", "lmetric", *OURS, "pretrained"):
            row[name] = float(latencies(changed, name, policy)[:, 0].mean())
        rows.append(row)
        print(row, flush=True)
    print_table(f"Mean end-to-end latency (s) over {over}, {recipe}", rows)
    write_results(f"routing_sweep_{over}", rows, machine(PACKAGES))


def _changed(instance: RoutingInstance, over: str, value: float) -> RoutingInstance:
    if over == "load":
        return at_load(instance, value)
    if over == "stale":
        return dataclasses.replace(instance, stale_s=value)
    rng = np.random.default_rng(instance.num_requests)
    output = instance.output.astype(np.int64)
    return dataclasses.replace(
        instance, predicted=predict(output, "bucket", value, rng).astype(np.int32)
    )


def curve(policy: str = "", count: int = 6, recipe: str = "homogeneous") -> None:
    """Share of requests within their objectives over the arrival rate, and where 90 % ends.

    Args:
        policy: checkpoint; empty for the shipped one.
        count: instances.
        recipe: a key of :data:`makespan.envs.routing.suites.RECIPES`.
    """
    from matplotlib.figure import Figure

    instances = draw(recipe, RECIPES[recipe], TEST_SEED, count)
    figure = Figure(figsize=(6.4, 3.8), dpi=110, layout="constrained")
    axes = figure.add_subplot(xlabel="requests/s", ylabel="share within TTFT and TPOT objectives")
    rows = []
    for name in ("round-robin", "least-tokens", "lmetric", "central-queue", "pretrained"):
        found = goodput(instances, _policy(name, policy))
        unit = found.rate / found.factor
        tried = np.array(found.tried)
        axes.plot(tried[:, 0] * unit, tried[:, 1], ".-", label=name, lw=1, ms=4)
        rows.append({"policy": name, "goodput (requests/s)": found.rate})
    axes.axhline(0.9, color="#888888", lw=0.8, ls="--")
    axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / "routing_goodput.png")
    print_table(f"Goodput, {recipe}", rows)
    write_results("routing_goodput", rows, machine(PACKAGES))


_policy = policy

if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"speed": speed, "decision": decision, "compare": compare, "sweep": sweep, "goodput": curve}
    )
