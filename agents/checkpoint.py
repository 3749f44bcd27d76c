"""Checkpoints: one safetensors file, its header holding a JSON document; nothing is ever unpickled.

A checkpoint is written to a temporary file and renamed, so a crash leaves the previous one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from makespan.agents.device import find_device
from makespan.envs.core.errors import CheckpointError, MakespanError
from makespan.envs.core.files import parse_json, write_atomically
from makespan.envs.core.observation import ObservationSpec
from makespan.models.policy import GraphPolicy, PolicyConfig

VERSION = 1

#: Prefix of the tensors of the policy that a checkpoint is used for.
POLICY = "policy."

#: Entry of the data that grows with the run. A header may have 100 MB, so this is kept as a tensor.
ROWS = "metrics"


class Checkpoint(NamedTuple):
    """Tensors by name, and plain data.

    ``data`` always holds ``problem`` (its name), ``options`` (of the physics), ``features`` (names,
    see :func:`feature_names`) and ``policy`` (a PolicyConfig as a dict).
    """

    tensors: dict[str, Tensor]
    data: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` whole or not at all; raises UsageError when it cannot be written."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()
    }
    data = dict(checkpoint.data)
    if ROWS in data:
        text = bytearray(json.dumps(data.pop(ROWS)).encode())
        tensors[ROWS] = torch.frombuffer(text, dtype=torch.uint8)
    header = json.dumps({"version": VERSION, **data})
    write_atomically(path, save(tensors, metadata={"makespan": header}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote.

    Raises:
        CheckpointError: when the file is missing, damaged, not ours, or of another version, or
            holds a number that is not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("makespan")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as cause:
        raise CheckpointError(f"{path}: not a readable checkpoint: {cause}") from None
    if header is None:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of makespan")
    data = parse_json(header, lambda message: CheckpointError(f"{path}: header: {message}"))
    if not isinstance(data, dict) or data.pop("version", None) != VERSION:
        raise CheckpointError(f"{path}: of another version of makespan, expected {VERSION}")
    if ROWS in tensors:
        with naming_damage(path):
            data[ROWS] = json.loads(tensors.pop(ROWS).numpy().tobytes())
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(f"{path}: damaged: {name} holds a number that is not finite")
    return Checkpoint(tensors, data)


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Raise CheckpointError for entries of a checkpoint that are missing or of a wrong form."""
    try:
        yield
    except MakespanError:
        raise
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as cause:
        raise CheckpointError(f"{path}: damaged: {cause!r}") from None


def feature_names(spec: ObservationSpec) -> dict[str, list[str]]:
    """What a network depends on: the names of types, features and roles, in order."""
    return {
        field: list(getattr(spec, field))
        for field in (
            "node_types",
            "edge_types",
            "node_features",
            "node_state_features",
            "edge_features",
            "candidate_features",
            "candidate_roles",
            "global_features",
        )
    }


def check_problem(data: dict[str, Any], name: str, path: Path) -> None:
    """Raise CheckpointError unless the checkpoint was made for this problem."""
    if data["problem"] != name:
        raise CheckpointError(f"{path}: trained on problem {data['problem']!r}, expected {name!r}")


def check_features(data: dict[str, Any], spec: ObservationSpec, path: Path) -> None:
    """Raise CheckpointError unless the checkpoint was made with these features."""
    for field, expected in feature_names(spec).items():
        found = data["features"].get(field)
        if found != expected:
            raise CheckpointError(
                f"{path}: trained with other {field.replace('_', ' ')}: found {found}, expected "
                f"{expected}; train again with this version"
            )


def load_policy(
    path: Path,
    name: str,
    make_spec: Callable[..., ObservationSpec],
    device: torch.device | str = "cpu",
) -> tuple[GraphPolicy, dict[str, Any]]:
    """The policy of a checkpoint, in evaluation mode, and the checkpoint's data.

    Args:
        path: of the checkpoint.
        name: of the problem it is wanted for.
        make_spec: ``make_spec(**options)``: the observation of that problem under the options that
            the policy was trained with.
        device: where the network is put.

    Raises:
        CheckpointError: see :func:`load_checkpoint` and :func:`check_features`.
        UsageError: for a device that cannot be used.
    """
    checkpoint = load_checkpoint(path)
    weights = {
        key.removeprefix(POLICY): value
        for key, value in checkpoint.tensors.items()
        if key.startswith(POLICY)
    }
    with naming_damage(path):
        check_problem(checkpoint.data, name, path)
        spec = make_spec(**checkpoint.data["options"])
        check_features(checkpoint.data, spec, path)
        config = PolicyConfig(**checkpoint.data["policy"])
        held = sum(value.numel() for value in weights.values())
        if config.attention_layers * config.hidden**2 > held:  # a network has more; see before
            raise RuntimeError(f"{held} weights for a width of {config.hidden}")  # it is made
        network = GraphPolicy(spec, config)
        network.load_state_dict(weights)
    return network.to(find_device(device)).eval(), checkpoint.data
