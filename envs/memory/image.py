"""Fast memory as a picture in the observation: offsets by time, in the spirit of mallocMuZero."""

from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from makespan.envs.core.errors import UsageError
from makespan.envs.memory import kernel
from makespan.envs.memory.kernel import State


class OccupancyImage(gymnasium.ObservationWrapper[dict[str, NDArray[Any]], Any, Any]):
    """Adds the key ``image``, (2, H, W) float32 from 0 to 1, to every observation.

    A line is an H-th of fast memory, a column an instruction, t that of the access to decide. The
    first channel looks back: what share of the line is out of reach for a place from instruction
    ``t - W + 1 + column`` on, as something lies there then or later. The second looks ahead: what
    share holds a buffer whose next access is at instruction ``t + column`` or later.

    Args:
        env: ``makespan/MemoryMapping-v0``, a single environment.
        size: H and W.

    Raises:
        UsageError: unless both are positive.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], size: tuple[int, int]) -> None:
        super().__init__(env)
        if len(size) != 2 or min(size) < 1:
            raise UsageError(f"image: found {size}, expected a height and a width of at least 1")
        self.size = (int(size[0]), int(size[1]))
        image = spaces.Box(0, 1, (2, *self.size), np.float32)
        known = cast(spaces.Dict, env.observation_space)
        self.observation_space = spaces.Dict({**known, "image": image})  # type: ignore[assignment]

    def observation(self, observation: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The observation of the environment with the picture."""
        state = self.unwrapped.state  # type: ignore[attr-defined]
        return {**observation, "image": occupancy(state, 0, self.size)}


def occupancy(state: State, row: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """(2, H, W) see :class:`OccupancyImage`; after the last access as before it."""
    height, width = size
    capacity, accesses = state.constants[row, [kernel.CAPACITY, kernel.ACCESSES]].tolist()
    image = np.zeros((2, height, width))
    if capacity == 0:
        return image.astype(np.float32)
    access, held = state.access[row], state.held[row, 0]
    segment = state.segment[row, 0, : state.totals[row, 0, kernel.SEGMENTS]]
    now = access[min(state.totals[row, 0, kernel.POSITION], accesses - 1), kernel.INSTRUCTION_OF]
    begin = segment[:, kernel.BEGIN]
    end = np.append(begin[1:], capacity)
    edges = np.arange(height + 1) * (capacity / height)
    common = np.minimum(end[:, None], edges[1:]) - np.maximum(begin[:, None], edges[:-1])
    share = np.clip(common, 0, None) * (height / capacity)  # (segments, H)
    columns = np.arange(width)
    blocked = segment[:, kernel.UNTIL, None] >= now - width + 1 + columns
    owner = segment[:, kernel.OWNER]
    following = access[held[owner, kernel.LAST], kernel.NEXT]
    until = np.where(owner >= 0, access[following, kernel.INSTRUCTION_OF], -1)
    kept = until[:, None] >= now + columns
    image[0], image[1] = share.T @ blocked, share.T @ kept
    return np.clip(image, 0, 1).astype(np.float32)
