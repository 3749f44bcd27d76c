"""Files of memory mapping: instances and programs as JSON, plans as JSON and CSV."""

import json
from pathlib import Path

from makespan.envs.core.errors import InstanceError, UnknownNameError
from makespan.envs.core.files import (
    parse_json,
    read_json_solution,
    read_text,
    write_all,
    write_atomically,
)
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.solution import MemoryPlan


def read_instance(path: str | Path) -> MemoryInstance:
    """Read an instance (JSON, see :meth:`MemoryInstance.to_dict`).

    Raises:
        InstanceError: naming the file, and the line or field, what was found and expected.
    """
    path = Path(path)
    try:
        data = parse_json(read_text(path, InstanceError), InstanceError)
        if isinstance(data, dict) and "name" not in data:
            data = {**data, "name": path.stem}
        return MemoryInstance.from_dict(data)
    except (InstanceError, UnknownNameError) as error:
        text = str(error)
        raise InstanceError(text if str(path) in text else f"{path}: {text}") from None


def write_instance(instance: MemoryInstance, path: str | Path) -> None:
    """Write an instance as JSON, whole or not at all."""
    write_atomically(Path(path), json.dumps(instance.to_dict(), indent=1) + "\n")


def write_solution(instance: MemoryInstance, solution: MemoryPlan, stem: Path) -> list[Path]:
    """Write a plan as JSON and as CSV, each whole or not at all.

    Args:
        instance: that was solved.
        solution: its plan; checked first.
        stem: folder and name of the files, to which ``.json`` and ``.csv`` are added.

    Returns:
        The two files.

    Raises:
        InvalidSolutionError: when the plan violates a constraint.
        UsageError: when a file cannot be written.
    """
    solution.validate(instance)
    figures = {
        "all_slow": instance.all_slow,
        "static_latency": solution.latency(instance, "static"),
        "dynamic_latency": solution.latency(instance, "dynamic"),
    }
    contents = {
        "json": json.dumps({"instance": instance.name, **figures, **solution.to_dict()}) + "\n",
        "csv": solution.to_frame(instance).to_csv(index=False, lineterminator="\n"),
    }
    return write_all(stem, contents)


def read_solution(path: str | Path) -> MemoryPlan:
    """Read the JSON file of :func:`write_solution`; it is not checked against an instance.

    Raises:
        InvalidSolutionError: naming the file and the field at fault.
    """
    return read_json_solution(path, MemoryPlan.from_dict)
