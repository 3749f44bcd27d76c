"""Files of people: text read with bounded memory and clear errors, and never half-written."""

import csv
import io
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from makespan.envs.core.errors import InvalidSolutionError, UsageError

SolutionT = TypeVar("SolutionT")

#: Largest file that is read, in bytes; the largest published instances are far smaller.
MAX_FILE_SIZE = 32 * 2**20


def read_text(path: Path, error: Callable[[str], Exception], max_size: int = MAX_FILE_SIZE) -> str:
    """The text of a UTF-8 file, a byte order mark left out.

    Args:
        path: of the file.
        error: makes the exception to raise from a message, e.g. ``InstanceError``.
        max_size: bytes that are read at most.

    Raises:
        Exception: what ``error`` makes, when the file is missing, unreadable, a folder, larger than
            ``max_size`` or not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_size + 1)
    except (OSError, ValueError) as cause:  # ValueError: a null character in the name
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{str(path)!r}: cannot be read: {reason}") from None
    if len(data) > max_size:
        raise error(f"{path}: larger than {max_size // 2**20} MB, the most that is read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(
            f"{path}: found byte {data[cause.start]:#04x} at offset {cause.start}, expected text "
            "in UTF-8"
        ) from None
    if "\0" in text:
        raise error(f"{path}: found a null character, expected text")
    return text


def parse_json(text: str, error: Callable[[str], Exception]) -> Any:
    """The data of a JSON document.

    Raises:
        Exception: what ``error`` makes of a message that names the line, for anything else.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as cause:
        raise error(f"line {cause.lineno}: not JSON: {cause.msg}") from None
    except RecursionError:
        raise error("not usable JSON: nested too deeply") from None
    except ValueError as cause:  # an integer of thousands of digits
        raise error(f"not usable JSON: {cause}") from None


def csv_rows(text: str, error: Callable[[str], Exception]) -> list[list[str]]:
    """The rows of a CSV text.

    Raises:
        Exception: what ``error`` makes of a message that names the line.
    """
    reader = csv.reader(io.StringIO(text))
    try:
        return list(reader)
    except csv.Error as cause:  # a carriage return alone, a cell of more than 128 kB
        raise error(f"line {reader.line_num}: not CSV: {cause}") from None


def read_json_solution(path: str | Path, from_dict: Callable[[Any], SolutionT]) -> SolutionT:
    """The solution in a JSON file; it is not checked against an instance.

    Raises:
        InvalidSolutionError: naming the file and the field at fault.
    """
    path = Path(path)

    def broken(message: str) -> InvalidSolutionError:
        return InvalidSolutionError([message])

    text = read_text(path, broken)
    try:
        return from_dict(parse_json(text, broken))
    except InvalidSolutionError as error:
        raise broken(f"{path}: {'; '.join(error.violations)}") from None


def write_all(stem: Path, contents: Mapping[str, str]) -> list[Path]:
    """Write a file for each suffix behind ``stem``, see :func:`write_atomically`; returns them."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in contents]
    for path, text in zip(paths, contents.values(), strict=True):
        write_atomically(path, text)
    return paths


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file (text in UTF-8) whole or not at all; its folder is created when missing.

    Raises:
        UsageError: when it cannot be written.
    """
    try:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as cause:  # ValueError: no name, or a null character in it
        reason = getattr(cause, "strerror", None) or cause
        raise UsageError(f"{path}: cannot be written: {reason}") from None
