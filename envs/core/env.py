"""Any problem as a single Gymnasium environment: a batch of one."""

import operator
import reprlib
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from makespan.envs.core.errors import IllegalActionError, UnknownNameError, UsageError
from makespan.envs.core.instance import Instance
from makespan.envs.core.problem import Generator, Problem
from makespan.envs.core.solution import Solution

InstanceT = TypeVar("InstanceT", bound=Instance)
ObservationMode = Literal["graph", "candidates"]
IllegalAction = Literal["terminate", "raise"]

OBSERVATION_MODES = ("graph", "candidates")
ILLEGAL_ACTION_MODES = ("terminate", "raise")
RENDER_MODES = ("rgb_array",)


def check_modes(observation: str, illegal_action: str, render_mode: str | None) -> None:
    """Raise UnknownNameError for an unknown mode."""
    if observation not in OBSERVATION_MODES:
        raise UnknownNameError("observation mode", observation, OBSERVATION_MODES)
    if illegal_action not in ILLEGAL_ACTION_MODES:
        raise UnknownNameError("illegal-action mode", illegal_action, ILLEGAL_ACTION_MODES)
    if render_mode not in (None, *RENDER_MODES):
        raise UnknownNameError("render mode", render_mode, RENDER_MODES)


def reset_option(options: Mapping[str, Any] | None, name: str) -> Any:
    """The one option that a reset takes, or None; raises UnknownNameError for another."""
    for given in options or {}:
        if given != name:
            raise UnknownNameError("option of reset", given, [name])
    return (options or {}).get(name)


class SchedulingEnv(gymnasium.Env[dict[str, NDArray[Any]], np.int64], Generic[InstanceT]):
    """Steps one instance of a problem; every observation is made of fresh arrays.

    Args:
        problem: the simulator, sized for every instance of ``generator``.
        generator: gives the instance of each episode.
        observation: ``"graph"`` for all keys, ``"candidates"`` without the static graph.
        illegal_action: ``"terminate"`` ends the episode with the worst-case reward and sets
            ``info["illegal_action"]``; ``"raise"`` raises IllegalActionError, state unchanged.
        render_mode: ``"rgb_array"`` or None.

    The mask is in the observation, in ``info["action_mask"]`` and in :meth:`action_masks`. When an
    episode ends by a legal action, ``info`` holds the problem's metrics, ``objective`` and
    ``lower_bound`` among them.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as Gymnasium declares it
        "render_modes": list(RENDER_MODES),
        "render_fps": 4,
    }

    def __init__(
        self,
        problem: Problem[InstanceT],
        generator: Generator[InstanceT],
        observation: ObservationMode = "graph",
        illegal_action: IllegalAction = "terminate",
        render_mode: str | None = None,
    ) -> None:
        check_modes(observation, illegal_action, render_mode)
        self.problem = problem
        self.generator = generator
        self.render_mode = render_mode
        self.observation_space = problem.spec.space(observation)  # type: ignore[assignment]
        self.action_space = spaces.Discrete(problem.spec.max_candidates)
        self.instance: InstanceT | None = None
        self._keys = problem.spec.keys(observation)
        self._raise_illegal = illegal_action == "raise"
        self._state = problem.allocate(1)
        self._observation = problem.spec.allocate(1)
        self._actions = np.zeros(1, dtype=np.int64)
        self._rewards = np.zeros(1)
        self._terminated = np.zeros(1, dtype=np.bool_)
        self._complete = False  # the row holds a whole solution
        self._bind()

    def _bind(self) -> None:
        """Make what refers to the arrays of this environment: views and the bound step."""
        self._rows = {key: getattr(self._observation, key)[0] for key in self._keys}
        self._mask = self._observation.action_mask[0]
        self._step = self.problem.bind_step(
            self._state, self._observation, self._actions, self._rewards, self._terminated
        )

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy, which would cut the ties that :meth:`_bind` makes."""
        bound = ("_rows", "_mask", "_step")
        return {name: value for name, value in vars(self).items() if name not in bound}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._bind()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of the generator of instances.
            options: ``{"instance": instance}`` plays that instance instead of a sampled one.

        Raises:
            UnknownNameError: for another option.
            UsageError: for what is no instance of the problem.
            InstanceError: for an instance larger than the problem was made for.
        """
        given = reset_option(options, "instance")
        if given is not None:
            self._check_kind(given)
        super().reset(seed=seed)
        instance = self.generator.sample(self.np_random) if given is None else given
        self.problem.load(self._state, self._observation, 0, instance)
        self.instance = instance
        self._terminated[0] = False
        self._complete = False
        observation = self._copy()
        return observation, {"action_mask": self._mask.copy()}

    def _check_kind(self, given: object) -> None:
        kind = self.problem.instance_type()
        if not isinstance(given, kind):
            raise UsageError(f"instance: found {reprlib.repr(given)}, expected a {kind.__name__}")

    def step(
        self, action: Any
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """Take the candidate with index ``action``.

        Raises:
            ResetNeeded: of Gymnasium, when the episode has ended.
            UsageError: for what is no integer.
            IllegalActionError: with ``illegal_action="raise"``; the state is unchanged.
        """
        if self.instance is None or self._terminated[0]:
            raise gymnasium.error.ResetNeeded("the episode has ended: call reset() before step()")
        try:
            action = operator.index(action)
        except TypeError:
            raise UsageError(f"action: found {action!r}, expected an integer") from None
        if not 0 <= action < len(self._mask) or not self._mask[action]:
            return self._illegal(action)
        self._actions[0] = action
        self._step()
        observation = self._copy()
        info: dict[str, Any] = {"action_mask": self._mask.copy()}
        self._complete = terminated = bool(self._terminated[0])
        if terminated:
            info.update(self.problem.metrics(self._state, 0))
        return observation, float(self._rewards[0]), terminated, False, info

    def _illegal(
        self, action: int
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        if self._raise_illegal:
            raise IllegalActionError(
                f"action {action} is not legal; legal: {np.flatnonzero(self._mask).tolist()}"
            )
        self._terminated[0] = True
        reward = self.problem.worst_case_reward(self._state, 0)
        info = {"action_mask": self._mask.copy(), "illegal_action": action}
        return self._copy(), reward, True, False, info

    def _copy(self) -> dict[str, NDArray[Any]]:
        return {key: row.copy() for key, row in self._rows.items()}

    @property
    def state(self) -> Any:
        """The arrays of the problem, of which this environment is row 0; not to be changed."""
        return self._state

    def action_masks(self) -> NDArray[np.bool_]:
        """(A,) bool, True where the action is legal; the form that sb3-contrib asks for."""
        return self._mask.astype(np.bool_)  # type: ignore[no-any-return]

    def solution(self) -> Solution[InstanceT]:
        """The solution of the episode that has just ended.

        Raises:
            UsageError: when it has not ended, or by an illegal action.
        """
        if not self._complete:
            raise UsageError(
                "the episode has not ended by a legal action: only then there is a solution"
            )
        return self.problem.solution(self._state, 0)

    def render(self) -> NDArray[np.uint8] | None:
        """The schedule so far as an (height, width, 3) uint8 picture; None without render mode."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called, but no render_mode was given to make()")
            return None
        return self.problem.render(self._state, 0)
