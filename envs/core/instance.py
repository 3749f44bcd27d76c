"""Instances: everything that is given, randomness included, as immutable arrays."""

import dataclasses
import hashlib
import json
import operator
import reprlib
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from makespan.envs.core.errors import InstanceError
from makespan.envs.core.files import parse_json


@dataclass(frozen=True, eq=False)
class Instance:
    """Base of all instances: a frozen dataclass whose array fields are read-only.

    A subclass declares its fields, sets ``kind`` and ``version``, and implements :meth:`check`.
    Instances compare and hash by content (the name included), so they can be dictionary keys.

    Attributes:
        kind: what the JSON form is marked with, e.g. ``"job-shop"``.
        version: version of the JSON form.
        name: a label for tables and files.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    name: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                frozen = np.ascontiguousarray(value).view()
                if frozen.base is not None and frozen.flags.writeable:
                    frozen = frozen.copy()
                frozen.flags.writeable = False
                object.__setattr__(self, field.name, frozen)
        self.check()

    def check(self) -> None:
        """Raise InstanceError naming field, index, found and expected when the data are invalid."""
        raise NotImplementedError(f"{type(self).__name__} must define check()")

    @property
    def size(self) -> str:
        """What tables group instances by, e.g. ``"15x15"``; empty for no groups."""
        return ""

    def content_hash(self) -> str:
        """SHA-256 of the data (hexadecimal), the name left out."""
        digest = hashlib.sha256(self.kind.encode())
        for field in dataclasses.fields(self):
            if field.name == "name":
                continue
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                digest.update(f"{field.name}{value.dtype}{value.shape}".encode())
                digest.update(value.tobytes())
            else:
                digest.update(f"{field.name}={value!r}".encode())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.name == other.name and self.content_hash() == other.content_hash()

    def __hash__(self) -> int:
        return hash((self.name, self.content_hash()))

    def to_dict(self) -> dict[str, Any]:
        """Plain data (numbers, strings, lists); :meth:`from_dict` makes the instance again."""
        data: dict[str, Any] = {"kind": self.kind, "version": self.version}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            data[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild an instance; raises InstanceError for a wrong kind, version or field."""
        cls.check_header(data)
        names = {field.name for field in dataclasses.fields(cls)}
        missing = names - set(data)
        if missing:
            raise InstanceError(f"missing field(s) {sorted(missing)} in a {cls.kind} instance")
        return cls(**{name: _array(data[name], name) for name in names})

    @classmethod
    def check_header(cls, data: dict[str, Any]) -> None:
        """Raise InstanceError unless ``data`` is marked as this kind and a version we read."""
        if not isinstance(data, dict):
            raise InstanceError(f"found {type(data).__name__}, expected an object with 'kind'")
        if data.get("kind") != cls.kind:
            raise InstanceError(f"field 'kind': found {data.get('kind')!r}, expected {cls.kind!r}")
        if data.get("version") != cls.version:
            raise InstanceError(
                f"field 'version': found {data.get('version')!r}, expected {cls.version}"
            )

    def to_json(self) -> str:
        """The instance as a JSON document."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote; raises InstanceError with the line of a syntax error."""
        return cls.from_dict(parse_json(text, InstanceError))


def integer(value: Any, what: str, low: int, high: int) -> int:
    """``value`` as an integer from ``low`` to ``high``; raises InstanceError naming ``what``."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise InstanceError(
            f"{what}: found {reprlib.repr(value)}, expected an integer from {low} to {high}"
        )
    return number


def _array(value: Any, name: str) -> Any:
    """A list as an array, anything else as it is; raises InstanceError for ragged lists."""
    if not isinstance(value, list):
        return value
    try:
        return np.asarray(value)
    except ValueError:
        raise InstanceError(
            f"{name}: found {reprlib.repr(value)}, expected lists of equal length"
        ) from None
