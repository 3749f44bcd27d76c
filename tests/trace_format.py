"""What the Trace Event Format asks of a document, for tests: Chromium project, format description.

Viewers are forgiving: they drop what breaks these rules and say nothing.
"""

import json
from collections import Counter
from itertools import pairwise
from typing import Any


def check_trace(trace: dict[str, Any]) -> None:
    """Raise AssertionError unless a document of bars, arrows and counters follows the format."""
    assert json.loads(json.dumps(trace)) == trace
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events = trace["traceEvents"]
    by_phase: dict[str, list[dict[str, Any]]] = {phase: [] for phase in "MXsfC"}
    for event in events:
        by_phase[event["ph"]].append(event)
        assert isinstance(event["pid"], int)
        assert isinstance(event["name"], str)
        if event["ph"] != "M":
            assert event["ts"] >= 0  # microseconds
    _check_names(by_phase["M"], {event["tid"] for event in events if event["ph"] in "Xsf"})
    for event in by_phase["C"]:
        assert all(isinstance(value, int | float) for value in event["args"].values())
    bars: dict[int, list[tuple[float, float]]] = {}
    for event in by_phase["X"]:
        assert event["dur"] >= 0
        bars.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    for spans in bars.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(sorted(spans)))
    _check_arrows(by_phase["s"], by_phase["f"], bars)


def _check_names(metadata: list[dict[str, Any]], threads: set[int]) -> None:
    """One process with a name; each thread that is used has one name and one place."""
    kinds = Counter((event["name"], event.get("tid")) for event in metadata)
    assert set(kinds.values()) == {1}
    assert ("process_name", None) in kinds
    for thread in threads:
        assert ("thread_name", thread) in kinds
        assert ("thread_sort_index", thread) in kinds
    for event in metadata:
        (value,) = event["args"].values()
        assert isinstance(value, int if event["name"] == "thread_sort_index" else str)


def _check_arrows(
    starts: list[dict[str, Any]],
    ends: list[dict[str, Any]],
    bars: dict[int, list[tuple[float, float]]],
) -> None:
    """Arrows pair up by id, category and name, go forward, and have a bar at each end."""
    keys = [[(e["id"], e["cat"], e["name"]) for e in side] for side in (starts, ends)]
    assert sorted(keys[0]) == sorted(keys[1])
    assert len({e["id"] for e in starts}) == len(starts)
    until = {event["id"]: event["ts"] for event in ends}
    for event in starts:
        assert event["ts"] <= until[event["id"]]
    assert all(event["bp"] == "e" for event in ends)  # to the bar that runs, not the next
    for event in (*starts, *ends):
        assert any(
            start <= event["ts"] < end or start == event["ts"] == end
            for start, end in bars[event["tid"]]
        ), event
