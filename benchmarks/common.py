"""What the benchmarks share: interleaved timing, a description of the machine, tables and files."""

import csv
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

#: Where the benchmarks write, relative to the working directory.
FOLDER = Path("reports/benchmarks")

#: Characters per line where the output is not a terminal.
WIDTH = 120

Row = Mapping[str, Any]


def interleaved(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Measure each contender once per round, so that a busy moment does not hit only one.

    Args:
        contenders: name -> a call that measures and returns a figure.
        rounds: number of figures per contender.

    Returns:
        name -> (rounds,) figures.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            figures[name].append(measure())
    return figures


def spread(figures: Sequence[float]) -> float:
    """Half the range between the extremes, relative to the median."""
    return (max(figures) - min(figures)) / 2 / statistics.median(figures)


def version(distribution: str) -> str | None:
    """The installed version of a package, or None when it is missing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine(distributions: Sequence[str]) -> dict[str, Any]:
    """What a figure depends on: processor, cores, load, Python and versions of packages."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in distributions},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def print_table(title: str, rows: Sequence[Row], caption: str = "") -> None:
    """Print rows of the same keys; numbers to the right, in a readable number of digits."""
    table = Table(title=title, caption=caption, caption_justify="left", title_justify="left")
    for key, value in rows[0].items():
        table.add_column(key, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_results(name: str, rows: Sequence[Row], about: Mapping[str, Any]) -> list[Path]:
    """Write ``name.csv`` (rows) and ``name.json`` (rows and ``about``); returns the paths."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    table, document = FOLDER / f"{name}.csv", FOLDER / f"{name}.json"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    document.write_text(json.dumps({"about": about, "rows": rows}, indent=2) + "\n")
    return [table, document]


def timed(call: Callable[[], Any]) -> float:
    """Seconds that ``call`` takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
