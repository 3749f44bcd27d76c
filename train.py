"""Train a policy: ``python train.py jobshop --minutes 20 --out runs/jobshop``.

Ctrl-C saves and says how to resume; ``--resume`` continues exactly where the run stopped. On
several GPUs or machines: ``torchrun --nproc-per-node 8 train.py jobshop --device cuda ...``.
"""

import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from makespan.agents.trainer import Trainer
    from makespan.models.policy import PolicyConfig


def main(arguments: list[str] | None = None) -> int:
    """Console entry point; returns the exit code (0 done, 2 a mistake of the user, 130 Ctrl-C)."""
    import tyro

    from makespan.envs.core.errors import MakespanError

    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        command = tyro.cli(_command_type(), args=arguments, prog="train.py", description=__doc__)
        return _run(command)
    except MakespanError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be written, a full disk
        print(f"train.py: {error.filename or 'file'}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the training, or the second
        print("train.py: interrupted", file=sys.stderr)
        return 130


def _command_type() -> Any:
    """The union of the commands of all families, one for each generator."""
    from makespan.agents.ppo import PPOConfig
    from makespan.agents.trainer import RunConfig
    from makespan.envs.core.commands import for_generators
    from makespan.models.policy import PolicyConfig

    fields = [
        ("policy", PolicyConfig, field(default=PolicyConfig())),
        ("ppo", PPOConfig, field(default=PPOConfig())),
        ("run", RunConfig, field(default=RunConfig())),
    ]
    return for_generators("Train", _Common, fields)


@dataclass(frozen=True, kw_only=True)
class _Common:
    """Options of every family.

    Attributes:
        out: folder of the run.
        resume: go on from the checkpoint in that folder.
        algorithm: our batched PPO; sb3-contrib's MaskablePPO with the same network; imitation of
            the best of one's own samples; imitation of the policy that sees the future.
        device: where the network lives, e.g. cpu or cuda.
        threads: of torch and of the simulator; 0 for one less than the cores.
    """

    out: Path
    resume: bool = False
    algorithm: Literal["ppo", "maskable-ppo", "self-labelling", "hindsight"] = "ppo"
    device: str = "cpu"
    threads: int = 0


def _run(command: Any) -> int:
    from makespan.agents.distributed import Processes
    from makespan.envs import FAMILIES

    set_threads(command.threads)
    if not command.resume:
        _check_folder(command.out)
    _check_layers(command.policy)
    kind = _trainer_type(command.algorithm)
    processes = Processes.join(command.device)
    trainer = kind(
        FAMILIES[command.family](),
        command.generator,
        dataclasses.asdict(command.physics),
        command.policy,
        command.ppo,
        command.run,
        command.out,
        command.device,
        processes,
    )
    if command.resume:
        trainer.resume()
    try:
        return _train(trainer)
    finally:
        processes.leave()


def _check_folder(out: Path) -> None:
    """Raise UsageError for the folder of another run, which a new one would overwrite."""
    from makespan.agents.trainer import CHECKPOINT
    from makespan.envs.core.errors import UsageError

    if (out / CHECKPOINT).exists():
        raise UsageError(
            f"out: found a run in {out}, expected a new folder; --resume goes on with that run"
        )


def _check_layers(policy: "PolicyConfig") -> None:
    """Raise UsageError for a number of layers that the encoder would ignore."""
    from makespan.envs.core.errors import UsageError
    from makespan.models.encoder import CONVOLUTIONS

    layers, default = policy.encoder_layers, type(policy).encoder_layers
    if policy.encoder not in CONVOLUTIONS and layers != default:
        raise UsageError(
            f"encoder_layers: found {layers}, but the encoder {policy.encoder!r} passes no messages"
        )


def _trainer_type(algorithm: str) -> "type[Trainer]":
    if algorithm == "maskable-ppo":
        from makespan.agents.sb3 import MaskablePPOTrainer  # imports stable-baselines3

        return MaskablePPOTrainer
    from makespan.agents.hindsight import HindsightTrainer, SelfLabellingTrainer
    from makespan.agents.trainer import Trainer

    kinds: dict[str, type[Trainer]] = {
        kind.algorithm: kind for kind in (Trainer, SelfLabellingTrainer, HindsightTrainer)
    }
    return kinds[algorithm]


def set_threads(threads: int) -> None:
    """Use that many threads in torch and in the simulators (0: one less than the cores)."""
    import os

    import numba
    import torch

    from makespan.envs.core.errors import UsageError

    cores = os.cpu_count() or 1
    if not 0 <= threads <= cores:
        raise UsageError(f"threads: found {threads}, expected 0 to {cores}")
    threads = threads or max(1, cores - 1)
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


class _Interrupt:
    """The first Ctrl-C asks to stop after the current iteration, the second stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "_Interrupt":
        self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _handle(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this iteration (Ctrl-C again: at once)", file=sys.stderr)


def _train(trainer: "Trainer") -> int:
    """Train with a progress display; says how to resume when interrupted."""
    with _Interrupt() as interrupt, _display(trainer) as report:
        trainer.train(report, lambda: interrupt.asked)
    folder = trainer.folder
    if not trainer.processes.first:
        return 0
    if trainer.progress < 1:
        print(f"saved in {folder}; go on with the same command and --resume")
        return 130
    print(
        f"best policy (validation objective / lower bound {trainer.counters.best:.4f}): "
        f"{folder / 'policy.safetensors'}"
    )
    return 0


@contextmanager
def _display(trainer: "Trainer") -> Iterator[Callable[[dict[str, Any]], None]]:
    """A progress bar on a terminal, a line every few iterations elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = console.is_terminal and trainer.processes.first
    with Progress(*columns, console=console, disable=not shown) as progress:
        task = progress.add_task("compiling, collecting", total=1.0)
        progress.update(task, completed=trainer.progress)

        def report(row: dict[str, Any]) -> None:
            text = (
                f"iteration {row['iteration']}  {row['steps_per_second']:,.0f} steps/s  "
                f"return {row['mean_return']:.3f}  validation {row['validation_ratio']:.4f}"
            )
            progress.update(task, completed=trainer.progress, description=text)
            if not console.is_terminal and row["iteration"] % trainer.run.validate_every == 0:
                print(f"{100 * trainer.progress:3.0f} %  {text}", flush=True)

        yield report


if __name__ == "__main__":
    sys.exit(main())
