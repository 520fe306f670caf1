"""Where computing starts: threads, denormals and the device are settled here, once, for every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comrl.ground.errors import BadInput

if TYPE_CHECKING:
    import torch

_threads = 1


def threads() -> int:
    """Return how many threads physics may step with; the numbers do not depend on it."""
    return _threads


def use_threads(count: int) -> None:
    """Step simulations made from now on with so many threads."""
    global _threads
    _threads = count


def prepare(device: str = "cpu", threads: int | None = None) -> torch.device:
    """Pin the threads (they change float sums), flush denormals, and name the device.

    BadInput where the device is absent.
    """
    import torch

    if threads is not None:
        if threads < 1:
            raise BadInput(f"--threads {threads} must be at least 1")
        torch.set_num_threads(threads)
    use_threads(torch.get_num_threads())
    torch.set_flush_denormal(True)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try --device cpu"
        ) from None
    return torch.device(device)
