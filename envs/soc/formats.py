"""Files of streams: a JSON document with the platform (or the name of a shipped one) and the jobs.

See :meth:`StreamInstance.from_dict` and :meth:`Platform.from_dict`. Schedules are written as JSON,
CSV and Chrome trace events, which open in Perfetto.
"""

import json
from pathlib import Path

import numpy as np

from makespan.envs.core.errors import InstanceError, MakespanError
from makespan.envs.core.files import (
    parse_json,
    read_json_solution,
    read_text,
    write_all,
    write_atomically,
)
from makespan.envs.soc.bounds import offered_load
from makespan.envs.soc.generator import warn_if_unstable
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.render import chrome_trace
from makespan.envs.soc.solution import StreamSolution


def read_instance(path: str | Path) -> StreamInstance:
    """Read a stream; its name is the file's unless the file holds one.

    Raises:
        InstanceError: naming the file, and the line or field at fault.

    Warns:
        UnstableLoadWarning: when arrivals are open and bring more work than can be done.
    """
    path = Path(path)
    text = read_text(path, InstanceError)
    try:
        data = parse_json(text, InstanceError)
        if isinstance(data, dict):
            data = {"name": path.stem, **data}
        instance = StreamInstance.from_dict(data)
    except MakespanError as error:
        raise InstanceError(f"{path}: {error}") from None
    if not instance.cap and instance.num_jobs > 1 and instance.gaps[1:].any():
        warn_if_unstable(offered_load(instance.platform, float(np.mean(instance.gaps[1:]))))
    return instance


def write_instance(instance: StreamInstance, path: str | Path) -> None:
    """Write a stream as JSON, whole or not at all; raises UsageError when that fails."""
    write_atomically(Path(path), instance.to_json() + "\n")


def write_solution(instance: StreamInstance, solution: StreamSolution, stem: Path) -> list[Path]:
    """Write a schedule as JSON, CSV (one line per task) and trace (``.trace.json``).

    Args:
        instance: that was solved.
        solution: its schedule.
        stem: path without suffix.

    Returns:
        The files written.

    Raises:
        UsageError: when a file cannot be written.
    """
    contents = {
        "json": json.dumps({"instance": instance.name, **solution.to_dict()}, indent=1) + "\n",
        "csv": solution.to_frame(instance).to_csv(index=False, lineterminator="\n"),
        "trace.json": json.dumps(chrome_trace(instance, solution)) + "\n",
    }
    return write_all(stem, contents)


def read_solution(path: str | Path) -> StreamSolution:
    """Read the JSON file of :func:`write_solution`; it is not checked against an instance.

    Raises:
        InvalidSolutionError: naming the file and the field at fault.
    """
    return read_json_solution(path, StreamSolution.from_dict)
