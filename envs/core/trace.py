"""Schedules in the Chrome trace-event format, which Perfetto and chrome://tracing open.

Source of the format: Trace Event Format, the Chromium project.
"""

from collections.abc import Sequence
from typing import Any


class ChromeTrace:
    """Collects events; a time unit is shown as a microsecond.

    Args:
        name: of the whole.
        threads: names of the processors, in the order of their rows.
    """

    def __init__(self, name: str, threads: Sequence[str]) -> None:
        self.events: list[dict[str, Any]] = [
            {"ph": "M", "pid": 0, "name": "process_name", "args": {"name": name}}
        ]
        for index, thread in enumerate(threads):
            for kind, args in (
                ("thread_name", {"name": thread}),
                ("thread_sort_index", {"sort_index": index}),
            ):
                self.events.append({"ph": "M", "pid": 0, "tid": index, "name": kind, "args": args})

    def task(self, thread: int, name: str, start: int, end: int, **details: Any) -> None:
        """Add a bar."""
        self.events.append(
            {
                "ph": "X",
                "pid": 0,
                "tid": thread,
                "name": name,
                "cat": "task",
                "ts": start,
                "dur": end - start,
                "args": details,
            }
        )

    def flow(
        self, number: int, name: str, source: tuple[int, int, int], target: tuple[int, int]
    ) -> None:
        """Add an arrow from the end of a bar to the start of another.

        Viewers tie each end of an arrow to the bar that runs at its time. A bar does not run at its
        end any more, so the arrow starts a nanosecond earlier.

        Args:
            number: of the arrow; must differ from those of others.
            name: of the arrow.
            source: thread, start and end of the first bar.
            target: thread and start of the other.
        """
        common = {"pid": 0, "cat": "transfer", "id": number, "name": name}
        thread, start, end = source
        leaves = max(start, end - 0.001)
        self.events.append({"ph": "s", "tid": thread, "ts": leaves, **common})
        thread, start = target
        self.events.append({"ph": "f", "bp": "e", "tid": thread, "ts": start, **common})

    def counter(self, name: str, time: int, value: float) -> None:
        """Add a value of a curve."""
        self.events.append(
            {"ph": "C", "pid": 0, "name": name, "ts": time, "args": {"value": value}}
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON document."""
        return {"traceEvents": self.events, "displayTimeUnit": "ms"}
