"""LLM request routing as a :class:`~makespan.envs.core.problem.Problem`."""

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.compiled import CompiledProblem, mode_index
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.routing import kernel
from makespan.envs.routing.bounds import latency_alone
from makespan.envs.routing.hardware import iteration_time
from makespan.envs.routing.instance import REQUEST_COLUMNS, RoutingInstance, Sizes
from makespan.envs.routing.kernel import State
from makespan.envs.routing.solution import RoutingSolution


class RoutingProblem(CompiledProblem[RoutingInstance]):
    """Sends requests to replicas one by one to minimise the mean end-to-end latency.

    Candidate 0 holds the request at the router, candidate 1 + r sends it to replica r.

    Args:
        largest: sizes to pad to.
        queue: order of the queue at the replicas, see :mod:`makespan.envs.routing.replay`.
        reward: how the cost is spread over decisions, see :data:`kernel.REWARDS`.

    Raises:
        UnknownNameError: for an unknown mode.
    """

    name: ClassVar[str] = "routing"
    kernels: ClassVar[tuple[Any, Any]] = kernel.step, kernel.step_parallel
    parallel_rows: ClassVar[int] = 128

    def __init__(self, largest: Sizes, queue: str = "fcfs", reward: str = "integral") -> None:
        self.largest = largest
        self.queue = queue
        self.reward = reward
        self.constants = (
            mode_index("queue", queue, kernel.QUEUE_ORDERS),
            mode_index("reward", reward, kernel.REWARDS),
        )
        self.spec = ObservationSpec.of_kernel(
            kernel,
            max_nodes=2 + largest.replicas,
            max_edges=2 * largest.replicas,
            max_candidates=1 + largest.replicas,
        )

    def options(self) -> dict[str, Any]:
        """``{"queue": order, "reward": name}``."""
        return {"queue": self.queue, "reward": self.reward}

    def allocate(self, batch: int) -> State:
        """Arrays for ``batch`` clusters."""
        n, replicas, running, clients, prefixes, references = self.largest
        prefixes, references = max(prefixes, 1), max(references, 1)
        entries = running + n
        one, per_request, per_replica = (batch,), (batch, n), (batch, replicas)
        floats, whole = np.float64, np.int64
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "sizes": ((*one, 4), whole),
            "prefix_offsets": ((batch, n + 1), whole),
            "prefixes": ((batch, references), whole),
            "engine": ((*per_replica, 7), floats),
            "mean_engine": ((*one, 8), floats),
            "limits": ((*per_replica, 5), whole),
            "units": ((*one, 6), whole),
            "seconds": ((*one, 8), floats),
            "router": ((*one, 13), whole),
            "clock": ((*one, 5), floats),
            "iteration_end": (per_replica, floats),
            "duration": (per_replica, floats),
            "load": ((*per_replica, 10), whole),
            "running": ((*per_replica, running), whole),
            "chunk": ((*per_replica, running), whole),
            "references": ((*per_replica, prefixes), whole),
            "lru_before": ((*per_replica, prefixes), whole),
            "lru_after": ((*per_replica, prefixes), whole),
            "counter": ((*per_replica, clients), floats),
            "report": ((*per_replica, 16), floats),
            "entry_left": ((*per_replica, entries), whole),
            "entry_rest": ((*per_replica, entries), whole),
            "entry_context": ((*per_replica, entries), whole),
            "entry_ready": ((*per_replica, entries), floats),
            "figures": ((*per_replica, 17), floats),
            "drain": (per_replica, floats),
            "trial_finish": ((batch, entries + 1), whole),
            "trial_context": ((batch, entries + 1), whole),
        }
        for field in State._fields:  # the rest is one number a request
            annotation = str(State.__annotations__[field])
            shapes.setdefault(field, (per_request, floats if "float" in annotation else whole))
        return State(
            **{field: np.zeros(shape, dtype=dtype) for field, (shape, dtype) in shapes.items()}
        )

    def load(
        self, state: State, observation: Observation, row: int, instance: RoutingInstance
    ) -> None:
        """Put ``instance`` into ``row``; raises InstanceError when it is too large."""
        self.check_fits(instance)
        n, replicas = instance.num_requests, instance.num_replicas
        state.sizes[row] = (n, replicas, instance.sizes.clients, instance.sizes.prefixes)
        for field in ("arrival", *REQUEST_COLUMNS):
            getattr(state, field)[row, :n] = getattr(instance, field)
        state.prefix_offsets[row, : n + 1] = instance.prefix_offsets
        state.prefixes[row, : len(instance.prefixes)] = instance.prefixes
        state.alone[row, :n] = latency_alone(instance)
        state.engine[row, :replicas] = instance.engine
        limits = state.limits[row, :replicas]
        limits[:, kernel.BLOCKS] = instance.kv_blocks
        limits[:, kernel.WATERMARK] = instance.watermark_blocks
        limits[:, kernel.BUDGET] = instance.token_budget
        limits[:, kernel.BATCH] = instance.max_batch
        limits[:, kernel.ROLE] = instance.role
        prefix_blocks = instance.prefix_tokens // instance.block_tokens
        state.units[row, : kernel.EPISODE] = (
            instance.block_tokens,
            prefix_blocks if instance.prefix_cache else 0,
            instance.prefix_tokens,
            instance.max_holds,
            instance.priority.min() != instance.priority.max(),
        )
        rules = (instance.hold_s, instance.delay_s, instance.stale_s, instance.transfer_s)
        state.seconds[row, : len(rules)] = rules
        state.seconds[row, kernel.GUIDANCE] = self._guidance(state, row)
        state.units[row, kernel.EPISODE] += 1
        kernel.reset_row(state, observation, row, self.constants[0])

    def _guidance(self, state: State, row: int) -> float:
        """Weight of the mixing term in the episode that begins."""
        if self.reward != "workload-guided":
            return 1.0
        episode = self.first_episode + int(state.units[row, kernel.EPISODE])
        return math.exp(-kernel.FADING * episode)

    def solution(self, state: State, row: int) -> RoutingSolution:
        """The decisions of a finished row and what followed."""
        return RoutingSolution(queue=self.queue, **self.record(state, row))

    def follow(self, state: State, row: int, solution: RoutingSolution) -> int:
        """Where the solution sends the request, once its time has come; held before, if it may."""
        request = state.router[row, kernel.DECISION]
        if state.router[row, kernel.MOVING]:
            return 1 + int(solution.decoder[request])
        early = solution.release[request] > state.clock[row, kernel.NOW] + 1e-9
        if early and state.holds[row, request] < state.units[row, kernel.MAX_HOLDS]:
            return 0
        return 1 + int(solution.replica[request])

    def record(self, state: State, row: int) -> dict[str, NDArray[Any]]:
        """(n,) columns of a solution; NaN and -1 where something has not happened yet."""
        n = state.sizes[row, 0]
        columns = {
            "replica": state.replica,
            "order": state.sequence,
            "release": state.release,
            "decoder": state.decoder,
            "moved": state.moved,
            "first_token": state.first_token,
            "end": state.end,
            "preemptions": state.preemptions,
            "cached": state.cached,
        }
        return {name: column[row, :n].copy() for name, column in columns.items()}

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        """Requests over time by replica, as far as decided."""
        from makespan.envs.routing.render import rgb_array

        n = state.sizes[row, 0]
        return rgb_array(
            self.record(state, row),
            arrival=state.arrival[row, :n],
            num_replicas=int(state.sizes[row, 1]),
            now=float(state.clock[row, kernel.NOW]),
        )

    def worst_case_reward(self, state: State, row: int) -> float:
        """As if every token left were an iteration of its own, as long as one can be.

        The request that a replica admitted first is never preempted for want of memory, so that
        each iteration brings it a token further; with the preempting orders, recomputing as often
        as there are requests is allowed for.
        """
        n, replicas = state.sizes[row, 0], state.sizes[row, 1]
        limits, seconds = state.limits[row, :replicas], state.seconds[row]
        budget = limits[:, kernel.BUDGET].astype(np.float64)
        memory = limits[:, kernel.BLOCKS].astype(np.float64) * state.units[row, kernel.BLOCK_TOKENS]
        slowest = iteration_time(
            state.engine[row, :replicas],
            budget,
            limits[:, kernel.BATCH],
            memory,
            budget * (budget + 2 * memory),
        ).max()
        tokens = (state.prompt[row, :n].astype(np.float64) + state.output[row, :n]).sum()
        preempting = self.queue in ("srpt", "mlfq")
        waits = state.units[row, kernel.MAX_HOLDS] * seconds[kernel.HOLD_S]
        waits += 2 * seconds[kernel.DELAY_S] + tokens * seconds[kernel.TRANSFER_S]
        horizon = state.arrival[row, :n].max() + waits
        horizon += tokens * slowest * (n if preempting else 1)
        worst = float(horizon - state.arrival[row, :n].mean())
        bound = float(seconds[kernel.LOWER_BOUND])
        guided = self.reward.startswith("workload")
        guidance = 2 * float(seconds[kernel.GUIDANCE]) if guided else 0.0
        return (self._progress(state, row) - worst) / bound - guidance

    def _progress(self, state: State, row: int) -> float:
        """Mean latency that rewards were given for; requests yet to arrive count as alone."""
        bound = float(state.seconds[row, kernel.LOWER_BOUND])
        return bound + float(state.clock[row, kernel.SPENT]) / int(state.sizes[row, 0])

    def metrics(self, state: State, row: int) -> dict[str, float]:
        """Mean end-to-end latency (so far, before the end) and its lower bound, in seconds."""
        n = state.sizes[row, 0]
        if state.router[row, kernel.DONE] == n:
            objective = float((state.end[row, :n] - state.arrival[row, :n]).mean())
        else:
            objective = self._progress(state, row)
        bound = float(state.seconds[row, kernel.LOWER_BOUND])
        return {"objective": objective, "lower_bound": bound}
