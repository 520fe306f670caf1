"""Progress bars of processes side by side: each has a line of its own."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from comrl.ground.showing import Bar, bar

_line = 0


def use_line(line: int, lock: Any) -> None:
    """Draw this process's bars in that line, the first is 0, and share the lock of all that draw."""
    global _line
    _line = line
    tqdm.set_lock(lock)


def progress_bar(total: int, done: int, about: str) -> Bar:
    """A bar of steps."""
    return bar(total, done, about, line=_line)
