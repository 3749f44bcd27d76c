"""Any problem as a native Gymnasium vector environment: one kernel call per step."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from makespan.envs.core.env import (
    RENDER_MODES,
    IllegalAction,
    ObservationMode,
    check_modes,
    reset_option,
)
from makespan.envs.core.errors import IllegalActionError, UsageError
from makespan.envs.core.problem import Generator, Problem

Arrays = dict[str, NDArray[Any]]


class SchedulingVectorEnv(VectorEnv[Arrays, NDArray[np.int64], NDArray[Any]]):
    """Steps ``num_envs`` instances at once.

    Row ``i`` reset with seed ``s`` plays what a single environment reset with ``s + i`` plays, and
    gives the same observations and rewards bit for bit.

    Args:
        num_envs: number of rows.
        problem, generator, observation, illegal_action: as for the single environment.
        autoreset_mode: NEXT_STEP, SAME_STEP (the last observation is in ``infos["final_obs"]``) or
            DISABLED (reset rows with ``options={"reset_mask": mask}``).
        copy: False hands out views that the next step overwrites.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as Gymnasium declares it
        "render_modes": list(RENDER_MODES),
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        problem: Problem[Any],
        generator: Generator[Any],
        observation: ObservationMode = "graph",
        illegal_action: IllegalAction = "terminate",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
    ) -> None:
        check_modes(observation, illegal_action, render_mode)
        if num_envs < 1:
            raise UsageError(f"num_envs: found {num_envs}, expected at least 1")
        self.num_envs = num_envs
        self.problem = problem
        self.generator = generator
        self.render_mode = render_mode
        self.copy = copy
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = problem.spec.space(observation)
        self.single_action_space = spaces.Discrete(problem.spec.max_candidates)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._keys = problem.spec.keys(observation)
        self._raise_illegal = illegal_action == "raise"
        self._state = problem.allocate(num_envs)
        self._observation = problem.spec.allocate(num_envs)
        self._all = np.arange(num_envs)
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._actions = np.zeros(num_envs, dtype=np.int64)
        self._rewards = np.zeros(num_envs)
        self._terminated = np.ones(num_envs, dtype=np.bool_)
        self._complete = np.zeros(num_envs, dtype=np.bool_)  # rows that hold a whole solution
        self._loaded = False
        self._bind()

    def _bind(self) -> None:
        self._step = self.problem.bind_step(
            self._state, self._observation, self._actions, self._rewards, self._terminated
        )

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy: without the step, which is bound to the arrays of this one."""
        return {name: value for name, value in vars(self).items() if name != "_step"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._bind()

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Arrays, dict[str, Any]]:
        """Start episodes in all rows, or in those of ``options["reset_mask"]`` ((num_envs,) bool).

        Args:
            seed: of row 0, the others follow; or one seed per row.
            options: see above.

        Raises:
            UsageError: for a mask or a list of seeds of the wrong form.
            UnknownNameError: for another option.
        """
        rows = self._rows_to_reset(reset_option(options, "reset_mask"))
        seeds = self._row_seeds(seed)
        for row in rows:
            if seeds[row] is not None or self._generators[row] is None:
                self._generators[row] = seeding.np_random(seeds[row])[0]
        self._load(rows)
        self._loaded = True
        return self._observations(), self._mask_info()

    def _rows_to_reset(self, mask: Any) -> NDArray[np.intp]:
        if mask is None:
            return self._all
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise UsageError(
                f"reset_mask: found {mask.dtype} {mask.shape}, expected bool ({self.num_envs},) "
                "with at least one True"
            )
        if not self._loaded:
            raise UsageError("reset_mask: the first reset must be of all rows")
        return np.flatnonzero(mask)

    def _row_seeds(self, seed: int | list[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise UsageError(f"seed: found {len(seed)} seeds, expected {self.num_envs}")
        return list(seed)

    def _load(self, rows: NDArray[np.intp]) -> None:
        for row in rows:
            instance = self.generator.sample(self._generators[row])
            self.problem.load(self._state, self._observation, row, instance)
        self._terminated[rows] = False
        self._complete[rows] = False

    def step(
        self, actions: Any
    ) -> tuple[Arrays, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One decision per row.

        Args:
            actions: (num_envs,) integer candidate indices. Rows that have ended are not stepped:
                they are reset (NEXT_STEP) or must have been (DISABLED).

        Raises:
            UsageError: when a row, or with DISABLED one that has ended, was not reset; for actions
                of another form.
            IllegalActionError: with ``illegal_action="raise"``; the state is unchanged.
        """
        if not self._loaded:
            raise UsageError("call reset() before step()")
        ended = self._terminated.copy()
        if ended.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            raise UsageError(
                f"rows {np.flatnonzero(ended)[:8].tolist()} have ended: reset them with "
                "options={'reset_mask': mask} first"
            )
        self._actions[:] = self._checked(actions)
        self._actions[ended] = -1
        illegal = self._illegal_rows(ended)
        self._step()
        self._complete[:] = self._terminated
        infos: dict[str, Any] = {}
        if illegal is not None:
            self._end_illegal(illegal, infos)
        if ended.any():
            self._load(np.flatnonzero(ended))
        terminated = self._terminated.copy()
        if terminated.any():
            self._end(terminated, infos, illegal)
        infos.update(self._mask_info())
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return self._observations(), self._rewards.copy(), terminated, truncated, infos

    def _checked(self, actions: Any) -> NDArray[Any]:
        found: NDArray[Any] = np.asarray(actions)
        if found.shape != (self.num_envs,) or found.dtype.kind not in "iu":
            raise UsageError(
                f"actions: found {found.dtype} {found.shape}, expected integers ({self.num_envs},)"
            )
        return found

    def _illegal_rows(self, ended: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Rows whose action is illegal, taken out of ``_actions``; None when there are none."""
        mask = self._observation.action_mask
        actions = self._actions
        inside = (actions >= 0) & (actions < mask.shape[1])
        legal = mask[self._all, np.where(inside, actions, 0)].astype(np.bool_) & inside
        if (legal | ended).all():
            return None
        illegal = ~(legal | ended)
        if self._raise_illegal:
            row = int(illegal.argmax())
            raise IllegalActionError(
                f"row {row}: action {actions[row]} is not legal; "
                f"legal: {np.flatnonzero(mask[row]).tolist()}"
            )
        self._illegal_actions = np.where(illegal, actions, 0)
        actions[illegal] = -1
        return illegal  # type: ignore[no-any-return]

    def _end_illegal(self, illegal: NDArray[np.bool_], infos: dict[str, Any]) -> None:
        for row in np.flatnonzero(illegal).tolist():
            self._rewards[row] = self.problem.worst_case_reward(self._state, row)
        self._terminated[illegal] = True
        infos["illegal_action"] = self._illegal_actions
        infos["_illegal_action"] = illegal

    def _end(
        self,
        terminated: NDArray[np.bool_],
        infos: dict[str, Any],
        illegal: NDArray[np.bool_] | None,
    ) -> None:
        """Add the metrics of the rows that ended; with SAME_STEP, start their next episodes."""
        finished = terminated if illegal is None else terminated & ~illegal
        metrics: dict[str, Any] = infos
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            metrics = {key: infos.pop(key) for key in list(infos)}
            metrics.update(self._mask_info(terminated))
            infos.update(final_info=metrics, _final_info=terminated.copy())
            infos.update(final_obs=self._final_obs(terminated), _final_obs=terminated.copy())
        for row in np.flatnonzero(finished).tolist():
            for key, value in self.problem.metrics(self._state, row).items():
                metrics.setdefault(key, np.zeros(self.num_envs))[row] = value
                metrics["_" + key] = finished.copy()
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            self._load(np.flatnonzero(terminated))

    def _final_obs(self, terminated: NDArray[np.bool_]) -> NDArray[np.object_]:
        """(num_envs,) the last observation of each row that ended, None for the others."""
        final = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(terminated):
            final[row] = {key: getattr(self._observation, key)[row].copy() for key in self._keys}
        return final

    def _mask_info(self, rows: NDArray[np.bool_] | None = None) -> dict[str, Any]:
        """The mask as Gymnasium gives it in infos, of all rows or only of ``rows``."""
        if rows is None:
            return {
                "action_mask": self._output("action_mask"),
                "_action_mask": np.ones(self.num_envs, dtype=np.bool_),
            }
        mask = np.where(rows[:, None], self._observation.action_mask, np.int8(0))
        return {"action_mask": mask, "_action_mask": rows.copy()}

    def _output(self, key: str) -> NDArray[Any]:
        array: NDArray[Any] = getattr(self._observation, key)
        return array.copy() if self.copy else array

    def _observations(self) -> Arrays:
        return {key: self._output(key) for key in self._keys}

    def action_masks(self) -> NDArray[np.bool_]:
        """(num_envs, A) bool, True where the action is legal."""
        return self._observation.action_mask.astype(np.bool_)

    def solution(self, row: int) -> Any:
        """The solution of a row whose episode has just ended (not with SAME_STEP).

        Raises:
            UsageError: when it has not ended, or by an illegal action.
        """
        if not self._complete[row]:
            raise UsageError(f"row {row}: the episode has not ended by a legal action")
        return self.problem.solution(self._state, row)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture of each row, or None without render mode."""
        if self.render_mode is None:
            return None
        return tuple(self.problem.render(self._state, row) for row in range(self.num_envs))


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    if isinstance(mode, AutoresetMode):
        return mode
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(repr(m.value) for m in AutoresetMode)
        raise UsageError(f"autoreset_mode: found {mode!r}, expected one of {known}") from None
