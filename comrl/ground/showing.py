"""How work shows how far it is: a bar on a terminal, elsewhere a plain line now and then, or nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol, Self, TextIO, TypeVar

from tqdm import tqdm

QUIET = "COMRL_QUIET"
"""The environment variable by which nothing is shown; processes that a command starts inherit it."""
TENSORBOARD = "COMRL_TENSORBOARD"
"""The one by which runs write their curves for TensorBoard too."""
TENTHS = 10  # lines of work that is not tested on the way

Item = TypeVar("Item")


class Bar(Protocol):
    """What shows how far something is."""

    @property
    def n(self) -> Any:
        """Units done."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: Any) -> Any: ...
    def update(self, n: int = 1) -> Any:
        """Go on by so many units."""

    def set_postfix(self, found: Mapping[str, Any]) -> Any:
        """Show this beside it."""


def bar(total: int, done: int, about: str, *, unit: str = "step", line: int = 0, tenths: bool = False) -> Bar:
    """Show work of so many units; where there is no terminal `tenths` asks for a line at each tenth."""
    out = None if os.environ.get(QUIET) else sys.stderr
    if out is None or not out.isatty():
        return Lines(total, done, about, unit, out, every=total / TENTHS if tenths else None)
    return tqdm(
        total=total, initial=done, unit=unit, desc=about, position=line, unit_scale=tenths, smoothing=0.05
    )


def each(items: Collection[Item], about: str, unit: str) -> Iterator[Item]:
    """Go through items and show how far that is."""
    with bar(len(items), 0, about, unit=unit) as shown:
        for item in items:
            yield item
            shown.update()


class Lines:
    """A plain line at each result, or each so many units, and at the end where that was not told yet."""

    def __init__(
        self, total: int, done: int, about: str, unit: str, out: TextIO | None, every: float | None = None
    ) -> None:
        self.n, self._total, self._about, self._unit, self._out = done, total, about, unit, out
        self._every, self._told, self._began = every, done, time.monotonic()
        self._found: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._told < self.n:
            self._tell()

    def update(self, n: int = 1) -> None:
        """Go on by so many units."""
        self.n += n
        if self._every is not None and self.n // self._every > self._told // self._every:
            self._tell()

    def set_postfix(self, found: Mapping[str, Any]) -> None:
        """Tell a result."""
        self._found = found
        self._tell()

    def _tell(self) -> None:
        self._told = self.n
        results = "".join(f", {name} {value}" for name, value in self._found.items())
        seconds = time.monotonic() - self._began
        text = f"{self._about}: {self._unit} {self.n} of {self._total}{results}, {seconds:.0f} s"
        if self._out is not None:
            print(text, file=self._out, flush=True)
