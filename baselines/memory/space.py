"""What a planner that does not go in program order keeps: rectangles and copies, checked in numba.

Memory is a set of rectangles (offset, size, first and last instruction, both included); copies are
(start, end, time): the window is what lies strictly between the two instructions.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Space:
    """Rectangles in fast memory; the last ones can be taken back.

    Rectangles of one ``chain`` follow one another in time and lie at the same offset.
    """

    def __init__(self, capacity: int, most: int) -> None:
        self.capacity = capacity
        self.count = 0
        #: Offset, size, first and last instruction, chain.
        self.table: NDArray[np.int64] = np.zeros((most, 5), dtype=np.int64)

    def add(self, offset: int, size: int, first: int, last: int, chain: int = -1) -> None:
        """Occupy a rectangle; it is not checked."""
        self.table[self.count] = offset, size, first, last, chain
        self.count += 1

    def repack(self) -> dict[int, int]:
        """Move chains to new places, those that last longest first, each by best fit.

        Returns:
            the offset of each chain; empty, and nothing moves, when they do not all fit.
        """
        table = self.table[: self.count]
        chains = np.unique(table[:, 4])
        whole = []
        for chain in chains.tolist():
            parts = table[table[:, 4] == chain]
            first, last, size = int(parts[:, 2].min()), int(parts[:, 3].max()), int(parts[0, 1])
            whole.append((first - last, -size, chain, first, last))
        packed = Space(self.capacity, len(whole))
        for _, size, chain, first, last in sorted(whole):
            offset = packed.best_fit(-size, first, last)
            if offset < 0:
                return {}
            packed.add(offset, -size, first, last, chain)
        moved = dict(packed.table[:, [4, 0]].tolist())
        table[:, 0] = [moved[chain] for chain in table[:, 4].tolist()]
        return moved

    def best_fit(self, size: int, first: int, last: int, preferred: int = -1) -> int:
        """Offset in the smallest gap that holds ``size`` (ties: the lowest), or -1.

        Args:
            size: bytes.
            first, last: instructions.
            preferred: an offset that is taken if it is free.
        """
        table = self.table[: self.count]
        return int(_best_fit(table, self.capacity, size, first, last, preferred))

    def is_free(self, offset: int, size: int, first: int, last: int) -> bool:
        """Whether nothing overlaps the rectangle."""
        return bool(_is_free(self.table[: self.count], offset, size, first, last))


class CopyResource:
    """Time for copies: each takes it from its start on, in the order of their starts.

    Args:
        supply: (instructions,) time that each instruction offers.
        most: largest number of copies.
    """

    def __init__(self, supply: NDArray[np.int64], most: int) -> None:
        self.supply = supply
        self.count = 0
        self.copies: NDArray[np.int64] = np.zeros((most + 1, 3), dtype=np.int64)
        self._left = np.zeros_like(supply)

    def admits(self, start: int, end: int, time: int) -> bool:
        """Whether this copy and all others still end in time."""
        copies, left = self.copies[: self.count + 1], self._left
        return bool(_all_in_time(copies, self.supply, left, start, end, time))

    def add(self, start: int, end: int, time: int) -> None:
        """Take a copy in, in the order of starts."""
        at = int(np.searchsorted(self.copies[: self.count, 0], start, side="right"))
        self.copies[at + 1 : self.count + 1] = self.copies[at : self.count]
        self.copies[at] = start, end, time
        self.count += 1

    def remove(self, start: int, end: int, time: int) -> None:
        """Take a copy out again."""
        match = (self.copies[: self.count] == (start, end, time)).all(axis=1)
        at = int(match.argmax())
        self.copies[at : self.count - 1] = self.copies[at + 1 : self.count]
        self.count -= 1


@njit(cache=True, error_model="numpy")
def _is_free(table, offset, size, first, last):
    for r in range(len(table)):
        if table[r, 2] <= last and table[r, 3] >= first:
            low = table[r, 0]
            if low < offset + size and offset < low + table[r, 1]:
                return False
    return True


@njit(cache=True, error_model="numpy")
def _best_fit(table, capacity, size, first, last, preferred):
    inside = 0 <= preferred <= capacity - size
    if inside and _is_free(table, preferred, size, first, last):
        return preferred
    lows = np.empty(len(table) + 1, dtype=np.int64)
    highs = np.empty(len(table) + 1, dtype=np.int64)
    count = 0
    for r in range(len(table)):
        if table[r, 2] <= last and table[r, 3] >= first:
            lows[count], highs[count] = table[r, 0], table[r, 0] + table[r, 1]
            count += 1
    order = np.argsort(lows[:count])
    best, best_gap, end = -1, 2**62, 0
    for index in range(count + 1):
        low = capacity if index == count else lows[order[index]]
        gap = low - end
        if size <= gap < best_gap:
            best, best_gap = end, gap
        if index < count:
            end = max(end, highs[order[index]])
    return best


@njit(cache=True, error_model="numpy")
def _all_in_time(copies, supply, left, start, end, time):
    """Serve the copies by start; the new one goes behind those that start with it."""
    left[:] = supply
    taken = False
    for index in range(len(copies)):
        old = index - 1 if taken else index
        if not taken and (index == len(copies) - 1 or copies[index, 0] > start):
            taken = True
            a, e, need = start, end, time
        else:
            a, e, need = copies[old, 0], copies[old, 1], copies[old, 2]
        t = a + 1
        while need > 0 and t < e:
            used = min(left[t], need)
            left[t] -= used
            need -= used
            t += 1
        if need > 0:
            return False
    return True
