"""Read request traces and instances, write solutions.

Traces, told apart by their columns:

* Azure LLM inference traces 2023 and 2024: CSV with TIMESTAMP (date and time), ContextTokens,
  GeneratedTokens.
* By hand: CSV with arrival_s (seconds), prompt_tokens, output_tokens, and client where known.
* BurstGPT (Wang et al., 2024): CSV with Timestamp (seconds), Request tokens, Response tokens, and
  Session ID where known. Requests without response tokens failed and are left out.
* Mooncake (Qin et al., FAST 2025): JSON lines with timestamp (milliseconds), input_length,
  output_length, hash_ids (one for each 512 tokens of the prompt).

A name that ends in ``.gz`` is decompressed.
"""

import csv
import dataclasses
import gzip
import io
import json
import math
import re
import reprlib
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import (
    InstanceError,
    UnknownNameError,
    UsageError,
)
from makespan.envs.core.files import parse_json, read_json_solution, read_text, write_all
from makespan.envs.routing.instance import Fleet, RoutingInstance, usable_tokens
from makespan.envs.routing.solution import RoutingSolution
from makespan.envs.routing.workloads import PREFIX_TOKENS, predict

#: Largest trace, in bytes; decompressed, where it is not plain.
MAX_TRACE_SIZE = 512 * 2**20


class Trace(NamedTuple):
    """The requests of a trace, in order of arrival; the first arrives at 0."""

    name: str
    arrival: NDArray[np.float64]  # (n,) seconds
    prompt: NDArray[np.int64]  # (n,) tokens
    output: NDArray[np.int64]  # (n,) tokens
    client: NDArray[np.int64]  # (n,) from 0
    prefixes: list[list[int]]  # blocks of 512 prompt tokens; empty lists where unknown

    def part(self, first: int, last: int, name: str) -> "Trace":
        """Requests ``first`` to before ``last``, the clock and clients numbered anew."""
        arrival = self.arrival[first:last]
        client = np.unique(self.client[first:last], return_inverse=True)[1]
        prefixes = self.prefixes[first:last]
        number = {block: k for k, block in enumerate(dict.fromkeys(b for p in prefixes for b in p))}
        return Trace(
            name,
            arrival - arrival[0],
            self.prompt[first:last],
            self.output[first:last],
            client,
            [[number[block] for block in blocks] for blocks in prefixes],
        )

    def during(self, start: float, end: float, name: str) -> "Trace":
        """Requests that arrive from share ``start`` to share ``end`` of the trace's time."""
        span = float(self.arrival[-1]) * (1 + 1e-12)
        first, last = np.searchsorted(self.arrival, [start * span, end * span])
        if first == last:
            raise UsageError(f"{self.name}: no request arrives from {start} to {end} of its time")
        return self.part(int(first), int(last), name)


#: Parts of a trace by time, so that nothing of the test is seen before: shares of its span.
PARTS: Mapping[str, tuple[float, float]] = {
    "all": (0.0, 1.0),
    "train": (0.0, 0.6),
    "validation": (0.6, 0.8),
    "test": (0.8, 1.0),
}


def read_trace(path: str | Path) -> Trace:
    """The requests of a trace file.

    Raises:
        InstanceError: naming file, line, found and expected.
    """
    path = Path(path)
    text = _text(path)
    if text.lstrip()[:1] == "{":
        return _trace(path, _mooncake(path, text))
    rows = csv.DictReader(io.StringIO(text))
    try:
        names = [(name or "").strip() for name in rows.fieldnames or []]
        for columns, read in CSV_FORMS.items():
            if set(columns) <= set(names):
                rows.fieldnames = names
                return _trace(path, read(path, rows))
    except csv.Error as cause:
        raise InstanceError(f"{path}, line {rows.line_num}: not CSV: {cause}") from None
    forms = " or ".join(", ".join(columns) for columns in CSV_FORMS)
    raise InstanceError(
        f"{path}, line 1: found the columns {', '.join(names) or 'none'}; expected {forms}; "
        "or JSON lines with timestamp, input_length, output_length"
    )


def _text(path: Path) -> str:
    if path.suffix != ".gz":
        return read_text(path, InstanceError, MAX_TRACE_SIZE)
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(MAX_TRACE_SIZE + 1)
    except (OSError, EOFError, zlib.error) as cause:
        raise InstanceError(f"{str(path)!r}: cannot be read: {cause}") from None
    if len(data) > MAX_TRACE_SIZE:
        raise InstanceError(f"{path}: larger than {MAX_TRACE_SIZE // 2**20} MB decompressed")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InstanceError(f"{path}: expected text in UTF-8") from None


class _Row(NamedTuple):
    line: int
    arrival: float
    prompt: int
    output: int
    client: str
    prefixes: list[int]


def _azure(path: Path, rows: Any) -> Iterator[_Row]:
    first: datetime | None = None
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        text = (row["TIMESTAMP"] or "").strip()
        time = _time(text)
        if time is None:
            raise InstanceError(
                f"{where}: TIMESTAMP: found {reprlib.repr(text)}, expected a date and time in UTC"
            )
        first = first or time
        yield _Row(
            rows.line_num,
            (time - first).total_seconds(),
            _count(row["ContextTokens"], f"{where}: ContextTokens"),
            _count(row["GeneratedTokens"], f"{where}: GeneratedTokens"),
            "",
            [],
        )


def _time(text: str) -> datetime | None:
    """A date and time in UTC, or None; of a fraction, six digits count, as many as Python reads."""
    head, dot, fraction = re.sub(r"(Z|\+00:00)$", "", text).partition(".")
    if dot and not (fraction.isascii() and fraction.isdecimal()):
        return None
    try:
        time = datetime.fromisoformat(f"{head}.{fraction[:6]:0<6}" if dot else head)
    except ValueError:
        return None
    return time if time.tzinfo is None else None


def _plain(path: Path, rows: Any) -> Iterator[_Row]:
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        yield _Row(
            rows.line_num,
            _number(row["arrival_s"], f"{where}: arrival_s"),
            _count(row["prompt_tokens"], f"{where}: prompt_tokens"),
            _count(row["output_tokens"], f"{where}: output_tokens"),
            row.get("client") or "",
            [],
        )


def _burst_gpt(path: Path, rows: Any) -> Iterator[_Row]:
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        response = _count(row["Response tokens"], f"{where}: Response tokens")
        prompt = _count(row["Request tokens"], f"{where}: Request tokens")
        time = _number(row["Timestamp"], f"{where}: Timestamp")
        if response and prompt:
            yield _Row(rows.line_num, time, prompt, response, row.get("Session ID") or "", [])


def _broken(where: str, message: str) -> InstanceError:
    return InstanceError(f"{where}: {message}")


def _mooncake(path: Path, text: str) -> Iterator[_Row]:
    for line, content in enumerate(text.splitlines(), 1):
        if not content.strip():
            continue
        where = f"{path}, line {line}"
        row = parse_json(content, partial(_broken, where))
        if not isinstance(row, dict):
            raise _broken(where, f"found {content[:40]!r}, expected an object")
        missing = [k for k in ("timestamp", "input_length", "output_length") if k not in row]
        if missing:
            raise InstanceError(f"{where}: found no {' or '.join(missing)}, expected them")
        prompt = _count(row["input_length"], f"{where}: input_length")
        blocks = row.get("hash_ids", [])
        if not isinstance(blocks, list) or not all(type(b) is int and b >= 0 for b in blocks):
            raise InstanceError(f"{where}: hash_ids: expected a list of whole numbers")
        time = _number(row["timestamp"], f"{where}: timestamp") / 1000
        output = _count(row["output_length"], f"{where}: output_length")
        full = [
            int(block) for block in blocks[: prompt // PREFIX_TOKENS]
        ]  # the last may be partial
        yield _Row(line, time, prompt, output, "", full)


#: Columns that tell a CSV form apart -> its reader.
CSV_FORMS: Mapping[tuple[str, ...], Callable[[Path, Any], Iterator[_Row]]] = {
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens"): _azure,
    ("arrival_s", "prompt_tokens", "output_tokens"): _plain,
    ("Timestamp", "Request tokens", "Response tokens"): _burst_gpt,
}


def _number(text: Any, where: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise InstanceError(f"{where}: found {text!r}, expected a number")
    return value


def _count(text: Any, where: str) -> int:
    value = _number(text, where)
    if value < 0 or value != int(value):
        raise InstanceError(f"{where}: found {text!r}, expected a whole number, at least 0")
    return int(value)


def _trace(path: Path, rows: Iterator[_Row]) -> Trace:
    found = list(rows)
    if not found:
        raise InstanceError(f"{path}: found no requests")
    before = 0.0
    for row in found:
        if row.arrival < 0:
            raise InstanceError(
                f"{path}, line {row.line}: found the time {row.arrival}, expected at least 0"
            )
        if row.arrival < before:
            raise InstanceError(
                f"{path}, line {row.line}: found the time {row.arrival} after {before}, expected "
                "times that do not go back"
            )
        before = row.arrival
    arrival = np.array([row.arrival for row in found])
    return Trace(
        path.name.removesuffix(".gz").rpartition(".")[0] or path.name,
        arrival - arrival[0],
        np.array([max(row.prompt, 1) for row in found]),
        np.array([max(row.output, 1) for row in found]),
        np.unique([row.client for row in found], return_inverse=True)[1],
        [row.prefixes for row in found],
    )


# ---------------------------------------------------------------- instances of a trace

DEFAULT_FLEET = "4*a100/llama-2-7b/1"
#: Most replicas of a fleet.
MAX_REPLICAS = 2**12
#: Options of :func:`read_trace_windows` with their defaults; ``rate``: so many times faster than in
#: the trace, instead of ``load``.
TRACE_OPTIONS = {
    "fleet": DEFAULT_FLEET,
    "load": "",
    "rate": "1",
    "requests": "600",
    "windows": "0",
    "part": "all",
    "memory": "1",
    "predictor": "bucket",
    "error": "0.2",
    "cache": "on",
    "hold_s": "0.25",
    "max_holds": "20",
}


def parse_fleet(text: str) -> list[str]:
    """Presets of a fleet like ``"4*a100/llama-2-7b/1+2*h100/llama-2-7b/1"``.

    Raises:
        UsageError: for what is no number above 0, or for more than ``MAX_REPLICAS`` replicas.
    """
    presets: list[str] = []
    for term in text.split("+"):
        count, star, name = term.partition("*")
        if not star:
            count, name = "1", term
        number = int(count) if re.fullmatch("[0-9]{1,4}", count) else 0
        if not 1 <= number <= MAX_REPLICAS - len(presets):
            raise UsageError(
                f"fleet: found {term!r}, expected number*preset, at most {MAX_REPLICAS} replicas "
                "in all"
            )
        presets += [name] * number
    return presets


def trace_windows(
    trace: Trace,
    fleet: Fleet,
    *,
    requests: int = 600,
    windows: int = 0,
    rate: float = 1.0,
    load: float | None = None,
    predictor: str = "bucket",
    error: float = 0.2,
    seed: int = 0,
    **options: Any,
) -> list[RoutingInstance]:
    """Cut a trace into instances of equal numbers of requests.

    Requests that fit into no replica are left out; the instance's name says how many.

    Args:
        trace: what arrives.
        fleet: the replicas.
        requests: of an instance.
        windows: number of instances, spread evenly over the trace; 0: as many as follow one
            another.
        rate: arrivals are made that many times faster.
        load: instead of ``rate``: arrivals are scaled so that the offered load of each is this.
        predictor, error: of response lengths, see :func:`makespan.envs.routing.workloads.predict`.
        seed: of the predictor's mistakes.
        options: further fields of :class:`RoutingInstance`.

    Raises:
        UsageError: for options outside their range, when no request fits into any replica, or for
            a ``load`` when all requests of an instance arrive at one time.
    """
    if requests < 1 or windows < 0 or not rate > 0 or (load is not None and not load > 0):
        raise UsageError(
            "requests, windows, rate, load: expected more than 0 (windows: at least 0)"
        )
    usable = int(usable_tokens(fleet, **options).max())
    fits = np.flatnonzero(trace.prompt + trace.output <= usable)
    if not len(fits):
        raise UsageError(f"{trace.name}: no request fits into the {usable} tokens of a replica")
    left_out = len(trace.prompt) - len(fits)
    kept = Trace(
        name=trace.name,
        arrival=trace.arrival[fits],
        prompt=trace.prompt[fits],
        output=trace.output[fits],
        client=trace.client[fits],
        prefixes=[trace.prefixes[i] for i in fits],
    )
    requests = min(requests, len(fits))
    most = len(fits) // requests
    count = min(windows, most) if windows else most
    starts = np.linspace(0, len(fits) - requests, count).round().astype(int)
    found = []
    for number, first in enumerate(starts.tolist()):
        name = f"{trace.name}-{number}" + (f" ({left_out} too long)" if left_out else "")
        part = kept.part(first, first + requests, name)
        rng = np.random.default_rng((seed, number))
        instance = RoutingInstance.build(
            part.arrival / rate,
            part.prompt,
            part.output,
            fleet,
            predicted=predict(part.output, predictor, error, rng),
            max_tokens=int(kept.output.max()),
            client=part.client,
            prefixes=part.prefixes,
            name=name,
            prefix_tokens=PREFIX_TOKENS,
            **options,
        )
        found.append(instance if load is None else at_load(instance, load))
    return found


def at_load(instance: RoutingInstance, load: float) -> RoutingInstance:
    """The same requests arriving so fast that the offered load is ``load``.

    Raises:
        UsageError: when they arrive at one time, so that no other speed changes the load.
    """
    offered = instance.offered_load
    if not 0 < offered < math.inf:
        raise UsageError(
            f"load: found {instance.num_requests} request(s) at one time in {instance.name}, "
            "expected several at different times"
        )
    return scaled(instance, load / offered)


def scaled(instance: RoutingInstance, rate: float) -> RoutingInstance:
    """The same requests arriving ``rate`` times faster."""
    return dataclasses.replace(instance, arrival=instance.arrival / rate)


def read_trace_windows(text: str) -> list[RoutingInstance]:
    """Instances of ``FILE`` or ``FILE:option=value,...`` with the options of :data:`TRACE_OPTIONS`.

    Raises:
        UsageError, UnknownNameError, InstanceError: for what cannot be read.
    """
    name, _, tail = text.partition(":")
    given: dict[str, str] = {}
    for item in filter(None, tail.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{text!r}: found {item!r}, expected option=value")
        if key not in TRACE_OPTIONS:
            raise UnknownNameError("option of a trace", key, TRACE_OPTIONS)
        if key in given:
            raise UsageError(f"{text!r}: found {key} twice, expected it once")
        given[key] = value
    if {"load", "rate"} <= set(given):
        raise UsageError(f"{text!r}: found load and rate, expected one of them")
    options = {**TRACE_OPTIONS, **given}
    for key, known in (("part", tuple(PARTS)), ("cache", ("on", "off"))):
        if options[key] not in known:
            raise UnknownNameError(key, options[key], known)
    memory = _number(options["memory"], f"{text!r}: memory")
    if not 0 < memory <= 1:
        raise UsageError(f"{text!r}: memory: found {memory}, expected more than 0, at most 1")
    trace = read_trace(name)
    if options["part"] != "all":
        trace = trace.during(*PARTS[options["part"]], name=f"{trace.name}-{options['part']}")
    presets = parse_fleet(options["fleet"])
    instances = trace_windows(
        trace,
        Fleet.of(presets, kv_share=memory),
        requests=_count(options["requests"], f"{text!r}: requests"),
        windows=_count(options["windows"], f"{text!r}: windows"),
        rate=_number(options["rate"], f"{text!r}: rate"),
        load=_number(options["load"], f"{text!r}: load") if options["load"] else None,
        predictor=options["predictor"],
        error=_number(options["error"], f"{text!r}: error"),
        prefix_cache=options["cache"] == "on" and any(trace.prefixes),
        hold_s=_number(options["hold_s"], f"{text!r}: hold_s"),
        max_holds=_count(options["max_holds"], f"{text!r}: max_holds"),
    )
    _warn_of_overload(instances)
    return instances


def _warn_of_overload(instances: Sequence[RoutingInstance]) -> None:
    """Say before the run that no routing can keep up with the arrivals."""
    loads = [instance.offered_load for instance in instances]
    over = [load for load in loads if load > 1]
    if over:
        warnings.warn(
            f"{len(over)} of {len(loads)} instances offer more than the fleet can serve (up to "
            f"{max(over):.2f} times): queues grow whatever the router does",
            stacklevel=3,
        )


def read_instance(path: str | Path) -> RoutingInstance:
    """An instance from our JSON.

    Raises:
        InstanceError: naming the file and what is wrong with it.
    """
    path = Path(path)
    if path.suffix in (".csv", ".jsonl", ".gz"):
        raise InstanceError(
            f"{path}: looks like a trace, which has no replicas: give it with --trace {path}"
        )
    text = read_text(path, InstanceError)
    try:
        return RoutingInstance.from_json(text)
    except InstanceError as error:
        raise InstanceError(f"{path}: {error}") from None


def write_solution(instance: RoutingInstance, solution: RoutingSolution, stem: Path) -> list[Path]:
    """Write a solution as JSON and as CSV, each whole or not at all.

    Args:
        instance: that was solved.
        solution: checked first.
        stem: folder and name of the files, to which ``.json`` and ``.csv`` are added.

    Returns:
        The two files.

    Raises:
        InvalidSolutionError: when the solution violates a constraint.
        UsageError: when a file cannot be written.
    """
    solution.validate(instance)
    contents = {
        "json": json.dumps({"instance": instance.name, **solution.to_dict()}) + "\n",
        "csv": solution.to_frame().to_csv(index=False, lineterminator="\n"),
    }
    return write_all(stem, contents)


def read_solution(path: str | Path) -> RoutingSolution:
    """Read the JSON file of :func:`write_solution`; it is not checked against an instance.

    Raises:
        InvalidSolutionError: naming the file and the field at fault.
    """
    return read_json_solution(path, RoutingSolution.from_dict)
