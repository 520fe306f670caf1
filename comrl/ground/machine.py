"""Where computing starts: threads, denormals and the device are settled here, once, for every command."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from comrl.ground.errors import BadInput
from comrl.ground.reading import content_of

if TYPE_CHECKING:
    import torch

MOST_THREADS = 1024
_threads = 1


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return how many threads physics may step with; the numbers do not depend on it."""
    return _threads


def use_threads(count: int) -> None:
    """Step simulations made from now on with so many threads."""
    global _threads
    _threads = count


@dataclass(frozen=True)
class Machine:
    """Where and how to compute."""

    device: str = "cpu"
    threads: int | None = None
    """On the CPU; None: as many as torch takes, one a core."""
    precision: Literal["fp32", "tf32"] = "fp32"
    """Of matrix products; tf32: with 10 bits of mantissa, on CUDA alone, where it is faster."""

    def shared_by(self, processes: int) -> Machine:
        """The part of it that each of some processes side by side has."""
        import torch

        total = self.threads or torch.get_num_threads()
        return replace(self, threads=max(1, total // processes))


def prepare(machine: Machine) -> torch.device:
    """Pin the threads (they change float sums), settle the precision, flush denormals, and name the device.

    BadInput where the device is absent, or is none for the precision.
    """
    import torch

    if machine.threads is not None:
        if not 1 <= machine.threads <= MOST_THREADS:
            raise BadInput(f"--threads {machine.threads} must be at least 1 and at most {MOST_THREADS}")
        torch.set_num_threads(machine.threads)
    use_threads(torch.get_num_threads())
    torch.set_flush_denormal(True)
    device = machine.device
    try:
        torch.empty(1, device=device)
        torch.Generator(device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try --device cpu"
        ) from None
    if machine.precision == "tf32" and torch.device(device).type != "cuda":
        raise BadInput(f"--precision tf32 is CUDA's and the device is {device}; leave it out")
    torch.set_float32_matmul_precision("high" if machine.precision == "tf32" else "highest")
    return torch.device(device)


def processor() -> str:
    """The processor and its vector instructions: by them sums are rounded, and a long training differs.

    "AMD EPYC, family 25, model 17, AVX512"; what the system does not tell is left out.
    """
    import torch

    told = (content_of(Path("/proc/cpuinfo")) or b"").decode(errors="replace").partition("\n\n")[0]
    found = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.*)$", told, re.MULTILINE))
    name = found.pop("model name", "") or platform.processor() or platform.machine()
    numbers = [f"{key.removeprefix('cpu ')} {number}" for key, number in found.items()]
    return ", ".join([name, *numbers, torch.backends.cpu.get_cpu_capability()])


def precision() -> str:
    """The precision of matrix products as `prepare` settled it."""
    import torch

    return "fp32" if torch.get_float32_matmul_precision() == "highest" else "tf32"
