"""Progress bars of processes side by side: each has a line of its own."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

_line = 0


def use_line(line: int, lock: Any) -> None:
    """Draw this process's bars in that line, the first is 0, and share the lock of all that draw."""
    global _line
    _line = line
    tqdm.set_lock(lock)


def progress_bar(total: int, done: int, about: str) -> tqdm:
    """A bar of steps."""
    return tqdm(total=total, initial=done, unit="step", desc=about, position=_line)
