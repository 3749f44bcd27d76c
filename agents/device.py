"""Devices that a network can be put on."""

import torch

from makespan.envs.core.errors import UsageError


def find_device(name: str | torch.device) -> torch.device:
    """The device of that name; raises UsageError when there is none or it cannot be used."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as cause:  # AssertionError: torch built without CUDA
        reason = str(cause).strip().splitlines()[0]
        raise UsageError(f"device: found {str(name)!r}, which cannot be used: {reason}") from None
    return device
