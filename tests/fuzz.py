"""Broken files: valid ones of every reader, and what may go wrong with them."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from makespan.agents.checkpoint import Checkpoint, save_checkpoint
from makespan.baselines.registry import make_solver
from makespan.baselines.results import ResultsFile
from makespan.envs import FAMILIES
from makespan.envs.core.errors import (
    CheckpointError,
    InstanceError,
    InvalidSolutionError,
    UnknownNameError,
    UsageError,
)

#: What may stand in a file instead of a value.
WORDS = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "1000000000",
        "1000000000000000000",
        "9" * 30,
        "9" * 400,
        "9" * 5000,
        "1e308",
    ),
    *(
        "-1e400",
        "0.5",
        "nan",
        "NaN",
        "Infinity",
        "1e-320",
        "null",
        "true",
        '""',
        "[]",
        "{}",
        "[[]]",
    ),
    *('"x"', "\u0661", "x" * 2000, ",", "\n", "\r", '"', "[" * 2000, "\ud7ff"),
)
VALUES: tuple[Any, ...] = (
    *(
        0,
        -1,
        1,
        2,
        10**9,
        2**31,
        2**63,
        10**30,
        10**400,
        0.5,
        -0.0,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *(
        None,
        True,
        "",
        "x",
        "x" * 2000,
        [],
        {},
        [[]],
        [1, "x"],
        [None],
        [10**9],
        {"x": 1},
        [[1], [1, 2]],
    ),
)


class Reader(NamedTuple):
    """A reader of files.

    Attributes:
        read: ``read(path)``.
        files: names and contents of valid files.
        errors: what it may raise.
    """

    read: Callable[[Path], Any]
    files: dict[str, bytes]
    errors: tuple[type[Exception], ...] = (InstanceError, UsageError)


def readers(folder: Path) -> dict[str, Reader]:
    """Every reader of every family, by name; valid files are made in ``folder``."""
    found = {}
    for name in FAMILIES:
        found.update(_of_family(name, folder / name))
    trace = FAMILIES["routing"]().sources["trace"]
    found["routing-trace"] = Reader(
        lambda path: trace.read(f"{path}:requests=2,windows=1"), _TRACES
    )
    found["jobshop-instance"].files.update(_shops())
    found["dag-instance"].files.update(_graphs())
    found["offsets-instance"].files["buffers.csv"] = (
        b"id,lower,upper,size,alignment\na,0,3,4,2\nb,2,5,4,1\nc,4,9,3,1\n"
    )
    found["checkpoint"] = _checkpoint(folder)
    found["results"] = _results(folder)
    return found


def _of_family(name: str, folder: Path) -> dict[str, Reader]:
    family = FAMILIES[name]()
    formats = sys.modules[family.read_instance.__module__]
    instance = SMALL[name](family)
    result = make_solver(family, "random").solve(instance, 1.0, np.random.default_rng(0))
    written = family.write_solution(instance, result.solution, folder / "solution")
    texts = {path.name: path.read_bytes() for path in written if path.suffix == ".json"}
    made = {f"{name}-instance": Reader(family.read_instance, _instance(instance))}
    if hasattr(formats, "read_solution"):
        read = formats.read_solution
        if name == "offsets":
            read = lambda path: formats.read_solution(path, instance)  # noqa: E731
            texts["solution.csv"] = (folder / "solution.csv").read_bytes()
        texts.pop("solution.trace.json", None)
        made[f"{name}-solution"] = Reader(read, texts, (InvalidSolutionError,))
    return made


def _instance(instance: Any) -> dict[str, bytes]:
    return {"instance.json": instance.to_json().encode()}


def _sampled(**options: Any) -> Callable[[Any], Any]:
    """A small instance of the family's first generator."""

    def sample(family: Any) -> Any:
        generator = type(next(iter(family.generators.values())))(**options)
        return generator.sample(np.random.default_rng(0))

    return sample


SMALL: dict[str, Callable[[Any], Any]] = {
    "blocking": _sampled(jobs=3, machines=2),
    "dag": _sampled(tasks=6, processors=2),
    "improve": _sampled(jobs=3, machines=2),
    "jobshop": _sampled(jobs=3, machines=2),
    "memory": _sampled(instructions=(2, 4)),
    "offsets": _sampled(buffers=4),
    "routing": _sampled(num_requests=3, num_replicas=2),
    "soc": _sampled(platforms=("toy",), jobs=(1, 1)),
}

_AZURE = b"""TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:16:46.6805900,879,55
"""
_MOONCAKE = b"""{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [46, 47, 48]}
{"timestamp": 3000, "input_length": 1024, "output_length": 7, "hash_ids": [46, 99]}
"""
_BURST = b"""Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total,Log Type
5,a,1.5,ChatGPT,472,18,490,Conversation log
118,a,3.0,GPT-4,417,276,693,Conversation log
"""
_TRACES = {
    "azure.csv": _AZURE,
    "mooncake.jsonl": _MOONCAKE,
    "burst.csv": _BURST,
    "azure.csv.gz": gzip.compress(_AZURE, mtime=0),
}


def _shops() -> dict[str, bytes]:
    return {
        "standard.txt": b"2 3\n0 3 1 2 2 2\n0 2 2 1 1 4\n",
        "taillard.txt": b"2 3\nTimes\n3 2 2\n2 1 4\nMachines\n1 2 3\n1 3 2\n",
        "flexible.fjs": b"2 2 1.5\n2 2 1 3 2 4 1 2 5\n1 1 1 6\n",
    }


def _graphs() -> dict[str, bytes]:
    from makespan.envs.dag.formats import format_csv

    tasks = [{"id": name, "name": name, "parents": [], "children": []} for name in "ab"]
    execution = [{"id": name, "runtimeInSeconds": 1.5} for name in "ab"]
    workflow = {"specification": {"tasks": tasks}, "execution": {"tasks": execution}}
    document = {"name": "w", "schemaVersion": "1.5", "workflow": workflow}
    graph = SMALL["dag"](FAMILIES["dag"]())
    return {
        "graph.csv": format_csv(graph).encode(),
        "workflow.json": json.dumps(document).encode(),
    }


def _checkpoint(folder: Path) -> Reader:
    from makespan.agents.checkpoint import feature_names, load_policy
    from makespan.baselines.jobshop import _spec
    from makespan.models.policy import GraphPolicy, PolicyConfig

    config = PolicyConfig(encoder="none", hidden=8, heads=2)
    tensors = {f"policy.{k}": v for k, v in GraphPolicy(_spec(), config).state_dict().items()}
    data = {
        "problem": "jobshop",
        "options": {"decode": "active", "lookahead": "none"},
        "features": feature_names(_spec()),
        "policy": config.to_dict(),
    }
    path = folder / "policy.safetensors"
    save_checkpoint(path, Checkpoint(tensors, data))
    return Reader(
        lambda path: load_policy(path, "jobshop", _spec),
        {"policy.safetensors": path.read_bytes()},
        (CheckpointError, UsageError, UnknownNameError),
    )


def _results(folder: Path) -> Reader:
    path = folder / "results.csv"
    ResultsFile(path, ("decode",))
    columns = path.read_text()
    row = "a,ab12,3x2,spt,active,0,10,,12,11,,,,9.1,lower bound,0.1,feasible,0.1,cpu,.05:13 .1:12\n"
    text = columns + row * 2
    return Reader(
        lambda path: ResultsFile(path, ("decode",)), {"results.csv": text.encode()}, (UsageError,)
    )


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A broken form of a file: as data when it is JSON, else (or now and then) as text or bytes."""
    kind = rng.random()
    if kind < 0.02:
        return rng.bytes(int(rng.integers(0, 300)))
    for _ in range(int(rng.integers(1, 4))):
        if content.lstrip()[:1] in (b"{", b"[") and kind < 0.7:
            content = _other_data(content, rng)
        elif kind < 0.85:
            content = _other_words(content, rng)
        else:
            content = _other_bytes(content, rng)
    return content


def _other_data(content: bytes, rng: np.random.Generator) -> bytes:
    """One value of a JSON document replaced, removed or repeated."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return _other_bytes(content, rng)
    places = list(_places(data))
    if not places:
        return content
    holder, key = places[int(rng.integers(len(places)))]
    choice = rng.random()
    if choice < 0.7:
        holder[key] = VALUES[int(rng.integers(len(VALUES)))]
    elif choice < 0.85:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        holder["extra"] = holder[key]
    return json.dumps(data).encode()


def _places(data: Any) -> Any:
    """Every (container, key) of a document."""
    if isinstance(data, dict | list):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            yield data, key
            yield from _places(data[key])


def _other_words(content: bytes, rng: np.random.Generator) -> bytes:
    """A word of the text replaced by another one."""
    words = content.replace(b",", b" , ").split(b" ")
    words[int(rng.integers(len(words)))] = WORDS[int(rng.integers(len(WORDS)))].encode()
    return b" ".join(words).replace(b" , ", b",")


def _other_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece removed, repeated or overwritten."""
    first, last = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    last = min(last, first + int(rng.choice([1, 8, 1000])))
    piece = content[first:last]
    other = (b"", piece * 2, piece * 300, rng.bytes(len(piece)))[int(rng.integers(4))]
    return content[:first] + other + content[last:]
