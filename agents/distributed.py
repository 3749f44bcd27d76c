"""Data-parallel training: several processes act as one.

Started by ``torchrun``, each process plays its share of the instances of an iteration; gradients,
and the few sums that concern all decisions, are added up over the processes. What is drawn at
random does not depend on their number, so a run in several processes gives what one process gives,
up to the order in which floating-point numbers are added.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from makespan.agents.device import find_device
from makespan.envs.core.errors import UsageError


@dataclass(frozen=True)
class Processes:
    """The processes of a run; one that stands alone communicates with nobody.

    Attributes:
        rank: number of this process.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> "Processes":
        """This process among those that ``torchrun`` started; alone without it.

        Args:
            device: where the networks live, see :meth:`device`.

        Raises:
            UsageError: for a device that cannot be used.
        """
        if not _launched():
            return cls()
        processes = cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        own = processes.device(device)
        on_gpu = own.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(own)
        if not distributed.is_initialized():
            # figures of the simulators are summed on the CPU, gradients where the network lives
            distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        return processes

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device of this process: of several GPUs on a machine, each takes its own.

        Raises:
            UsageError: for a device that cannot be used.
        """
        if name == "cuda" and _launched():
            name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        return find_device(name)

    def share(self, count: int) -> range:
        """Which of ``count`` things this process does; raises UsageError for too few of them."""
        if count < self.size:
            raise UsageError(f"instances: found {count}, expected at least {self.size} (processes)")
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Add up ``values`` over the processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """``value`` of every process, in order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def agree(self, value: Any) -> Any:
        """The first process's ``value``."""
        return self.gather(value)[0]

    def sum_gradients(self, parameters: Iterable[nn.Parameter], weight: float) -> None:
        """Replace gradients by their sum over the processes, each times its ``weight``.

        A process without decisions in a minibatch has no gradients; it counts as zero.
        """
        if self.size == 1:
            return
        parameters = list(parameters)
        parts = [torch.zeros_like(p) if p.grad is None else weight * p.grad for p in parameters]
        flat = self.sum(torch.cat([part.flatten() for part in parts]))
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parts]), strict=True):
            parameter.grad = part.view_as(parameter)

    def leave(self) -> None:
        """End the communication."""
        if self.size > 1:
            distributed.destroy_process_group()


def _launched() -> bool:
    """Whether ``torchrun`` started this process."""
    return "WORLD_SIZE" in os.environ


#: A process without others.
ALONE = Processes()
