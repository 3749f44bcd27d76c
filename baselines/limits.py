"""Time limits of solvers."""

from makespan.envs.core.errors import UsageError

#: Seconds of a search that nobody has limited.
DEFAULT_TIME_LIMIT_S = 10.0


def check_time_limit(time_limit_s: float | None) -> None:
    """Raise UsageError unless it is positive or None."""
    if time_limit_s is not None and not time_limit_s > 0:
        raise UsageError(f"time_limit_s: found {time_limit_s}, expected more than 0")


def time_limit(
    own: float | None, given: float | None, default: float = DEFAULT_TIME_LIMIT_S
) -> float:
    """The smaller of a solver's own limit and the one given for an instance, in seconds.

    None: no such limit; with neither it is ``default``. Infinity: as long as it takes.
    """
    limits = [limit for limit in (own, given) if limit is not None]
    return min(limits, default=default)
