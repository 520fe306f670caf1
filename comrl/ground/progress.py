"""Progress of steps: a process shows its own, or tells it to the one that shows a line for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from comrl.ground.showing import Bar, bar

INTERVAL = 0.2  # seconds between two words of one process


class Progress(NamedTuple):
    """Where something stands, and a result where there is a new one to show beside it."""

    total: int
    done: int
    about: str
    found: Mapping[str, Any] | None = None


_tell: Callable[[Progress], object] | None = None


def tell_progress(tell: Callable[[Progress], object]) -> None:
    """From now on this process shows nothing and tells how it goes."""
    global _tell
    _tell = tell


def progress_bar(total: int, done: int, about: str) -> Bar:
    """A bar of steps."""
    if _tell is not None:
        return Told(_tell, Progress(total, done, about))
    return bar(total, done, about)


class Told:
    """A bar that another process shows."""

    def __init__(self, tell: Callable[[Progress], object], at: Progress) -> None:
        self._tell, self._at, self._told = tell, at, 0.0

    def __enter__(self) -> Self:
        self._say()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._say()

    @property
    def n(self) -> int:
        """Units done."""
        return self._at.done

    def update(self, n: int = 1) -> None:
        """Go on by so many steps."""
        self._at = self._at._replace(done=self._at.done + n)
        if time.monotonic() - self._told > INTERVAL:
            self._say()

    def set_postfix(self, found: Mapping[str, Any]) -> None:
        """Show this beside it."""
        self._say(found)

    def _say(self, found: Mapping[str, Any] | None = None) -> None:
        self._told = time.monotonic()
        self._tell(self._at._replace(found=found))


class SideBySide:
    """A bar for each of some processes, one below another."""

    def __init__(self) -> None:
        self._shown: dict[int, tuple[str, Bar]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        for _, shown in self._shown.values():
            shown.__exit__(None, None, None)

    def show(self, line: int, at: Progress) -> None:
        """Show where the process of that line stands; what it did before stays above."""
        about, shown = self._shown.get(line, ("", None))
        if shown is None or about != at.about:
            if shown is not None:
                shown.__exit__(None, None, None)
            shown = bar(at.total, at.done, at.about, line=line)
            self._shown[line] = at.about, shown
        shown.update(at.done - shown.n)
        if at.found is not None:
            shown.set_postfix(at.found)
