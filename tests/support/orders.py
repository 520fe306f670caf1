"""Orders for processes, which import little; as a script, a command that has some of them done."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from comrl.benchmark.commands.ending import ended
from comrl.ground.files import locked
from comrl.ground.processes import do_beside


class Stubborn(Exception):
    """An error that cannot be read back from its pickle."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def double(order: int, tell: Callable[[int], object]) -> int:
    """Double a number; 3 ends its process as the kernel does where memory is short, 4 fails, 5 crashes."""
    tell(order)
    if order == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if order == 4:
        raise Stubborn("this", "that")
    if order == 5:
        os._exit(7)
    return 2 * order


def stay(order: Path, tell: Callable[[str], object]) -> None:
    """Leave the process's number in a file, and stay."""
    order.write_text(str(os.getpid()))
    tell(order.name)
    time.sleep(120)


def crowd(folder: Path, tell: Callable[[int], object]) -> int:
    """Stay for a second and tell all the while; the most that were here at once."""
    own, most = folder / str(time.monotonic_ns()), 0
    own.touch()
    for _ in range(20):
        most = max(most, len(list(folder.iterdir())))
        tell(most)
        time.sleep(0.05)
    own.unlink()
    return most


def command(folder: Path, how: str) -> int:
    """Have two of four orders begun while the folder is ours; then wait, or fail."""
    begun: list[str] = []

    def heard(place: int, name: str) -> None:
        begun.append(name)
        if len(begun) == 2:
            print("begun", flush=True)
            if how == "fails":
                raise RuntimeError("a failure of the parent")

    with locked(folder):
        try:
            do_beside(stay, [folder / str(order) for order in range(4)], 2, heard=heard)
        finally:
            left = [int(path.read_text()) for path in folder.glob("[0-9]")]
            print("alive", sum(Path(f"/proc/{number}").exists() for number in left), flush=True)
            if how == "slow":
                time.sleep(60)
    return 0


if __name__ == "__main__":
    folder, how = Path(sys.argv[1]), sys.argv[2]
    sys.exit(ended(lambda: command(folder, how), at_once=True))
