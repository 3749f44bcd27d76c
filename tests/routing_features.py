"""What a router sees, column by column, from the figures of the replicas and of the requests."""

from typing import Any

import numpy as np

from makespan.envs.routing import kernel
from makespan.envs.routing.instance import RoutingInstance


class Sight:
    """The decision in row 0 of a state."""

    def __init__(self, instance: RoutingInstance, state: Any) -> None:
        self.instance, self.state = instance, state
        router, seconds = state.router[0], state.seconds[0]
        self.request, self.now = int(router[kernel.DECISION]), float(state.clock[0, kernel.NOW])
        self.moving = bool(router[kernel.MOVING])
        arrived = int(router[kernel.NEXT_ARRIVAL])
        assert (instance.arrival[:arrived] <= self.now).all()
        alone = sum(self.alone(i) for i in range(arrived))
        np.testing.assert_allclose(seconds[kernel.ALONE_SUM], alone)
        self.unit = arrived / alone
        self.figures = state.figures[0, : instance.num_replicas]
        self.legal = self.figures[:, kernel.V_LEGAL] > 0
        self.prompt = int(instance.prompt[self.request])
        self.length = self.prompt + int(instance.predicted[self.request])

    def alone(self, i: int) -> float:
        """Predicted latency of a request alone on a replica that is the mean of all."""
        base, prefill, decode, _, _, context, quadratic = self.instance.engine.mean(axis=0)
        budget = self.instance.token_budget.mean()
        prompt, response = int(self.instance.prompt[i]), int(self.instance.predicted[i])
        first = np.ceil(prompt / budget) * base + prefill * prompt + quadratic * prompt**2
        after = base + decode + context * (prompt + response / 2)
        return float(first + (response - 1) * after)

    def figure(self, column: int) -> Any:
        return self.figures[:, column]

    def least(self, values: Any) -> float:
        """Over the replicas that may be chosen."""
        return float(np.min(values, where=self.legal, initial=np.inf))

    @property
    def memory(self) -> Any:
        """(replicas,) tokens."""
        return self.instance.kv_blocks * self.instance.block_tokens

    @property
    def can_hold(self) -> bool:
        held = int(self.state.holds[0, self.request])
        return not self.moving and held < self.instance.max_holds

    def replicas(self) -> dict[str, Any]:
        """(replicas,) of each feature of a candidate, by its name."""
        v, unit, instance = self.figure, self.unit, self.instance
        marginal, own, first = v(kernel.V_MARGINAL), v(kernel.V_OWN), v(kernel.V_FIRST)
        running, waiting, tokens = v(kernel.V_RUNNING), v(kernel.V_WAITING), v(kernel.V_TOKENS)
        overlap, drain = v(kernel.V_OVERLAP), self.state.drain[0, : len(self.legal)]
        product = (v(kernel.V_PENDING) + self.prompt - overlap) * (running + waiting + 1)
        report = self.state.report[0, : len(self.legal)]
        peak = (report[:, kernel.R_CONTEXT] + self.length) / self.memory
        oldest, room = report[:, kernel.R_OLDEST], v(kernel.V_ROOM) / instance.kv_blocks
        speed = self.iteration()
        return {
            "hold": 0 * marginal,
            "marginal_relative": (marginal - self.least(marginal)) * unit,
            "marginal": marginal * unit,
            "own_relative": (own - self.least(own)) * unit,
            "own": own * unit,
            "inflicted_relative": (marginal - own - self.least(marginal - own)) * unit,
            "inflicted": (marginal - own) * unit,
            "first_token_relative": (first - self.least(first)) * unit,
            "first_token": first * unit,
            "best_marginal": marginal == self.least(marginal),
            "best_own": own == self.least(own),
            "running_relative": (running - running.mean()) / 16,
            "running": running / instance.max_batch,
            "waiting_relative": (waiting - waiting.mean()) / 8,
            "waiting": waiting / 8,
            "tokens_relative": tokens / max(tokens.mean(), 1) - 1,
            "batch_tokens": product / max(self.least(product), 1) - 1,
            "kv_free": 1
            - (v(kernel.V_USED) + self.length / instance.block_tokens) / instance.kv_blocks,
            "kv_peak": peak,
            "kv_peak_relative": peak - self.least(peak),
            "oldest_wait": np.where(oldest < 1e30, self.now - oldest, 0) * unit,
            "overlap": overlap / self.prompt,
            "overlap_relative": (overlap - max(overlap[self.legal], default=0)) / self.prompt,
            "speed": speed / speed.mean() - 1,
            "drain": drain * unit,
            "drain_relative": (drain - self.least(drain)) * unit,
            "progress_wait": 0 * marginal,
            "legal": self.legal,
            "room": room,
            "fits": room >= 0,
            "pending": v(kernel.V_PENDING) / instance.token_budget / 8,
        }

    def hold(self) -> dict[str, float]:
        """What is said of holding."""
        seen = self.replicas()
        holds = int(self.state.holds[0, self.request])
        room = max(seen["room"][self.legal], default=-np.inf)
        return dict.fromkeys(kernel.CANDIDATE_FEATURES, 0.0) | {
            "hold": 1,
            "marginal": self.least(seen["marginal"]),
            "own": self.least(seen["own"]),
            "first_token": self.least(seen["first_token"]),
            "progress_wait": holds / max(self.instance.max_holds, 1),
            "legal": self.can_hold,
            "room": room,
            "fits": room >= 0,
            "pending": self.least(seen["pending"]),
        }

    def iteration(self) -> Any:
        """(replicas,) time in which 32 requests of 512 tokens get another token each."""
        base, _, decode, beyond, knee, context, _ = self.instance.engine.T
        return base + 32 * decode + beyond * np.maximum(32 - knee, 0) + 32 * 512 * context

    def held(self) -> list[int]:
        """Requests that wait at the router besides this one."""
        found, i = [], int(self.state.router[0, kernel.HELD_HEAD])
        while i >= 0:
            found.append(i)
            i = int(self.state.link[0, i])
        return found

    def whole(self) -> dict[str, float]:
        """The global features by their names."""
        v, unit, instance, i = self.figure, self.unit, self.instance, self.request
        used = v(kernel.V_USED) / instance.kv_blocks
        idle = v(kernel.V_RUNNING) + v(kernel.V_WAITING) == 0
        held, speed = self.held(), self.iteration()
        assert len(held) == self.state.router[0, kernel.NUM_HELD]
        tokens = {k: int(instance.prompt[k] + instance.predicted[k]) for k in held}
        shorter = [k for k in held if self.alone(k) < self.alone(i)]
        gap = max(float(self.state.seconds[0, kernel.GAP]), 1e-6)
        return {
            "held": len(held) / 8,
            "running": v(kernel.V_RUNNING).mean() / 16,
            "waiting": v(kernel.V_WAITING).mean() / 8,
            "kv_used": used.mean(),
            "kv_used_min": used.min(),
            "prompt": self.prompt / instance.token_budget.mean(),
            "predicted": int(instance.predicted[i]) / 256,
            "alone": self.alone(i) * unit,
            "marginal_min": self.least(v(kernel.V_MARGINAL)) * unit,
            "own_min": self.least(v(kernel.V_OWN)) * unit,
            "rate": 1 / (gap * unit * instance.num_replicas),
            "waited": (self.now - instance.arrival[i]) * unit,
            "can_hold": self.can_hold,
            "moving": self.moving,
            "speed_range": speed.max() / speed.min() - 1,
            "replicas": instance.num_replicas / 8,
            "idle_share": idle.mean(),
            "held_need": sum(tokens.values()) / self.memory.sum(),
            "held_shorter_need": sum(tokens[k] for k in shorter) / self.memory.sum(),
            "held_shorter": len(shorter) / 8,
            "hold": instance.hold_s * unit,
        }
