"""Every table and figure of the report: a pure function of the ledger, declared by the file that draws it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import pandas as pd

from comrl.benchmark.reporting.ledger import Ledger
from comrl.ground.surroundings import environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

SECTIONS = (
    "Claims",
    "Summary",
    "Results",
    "Learning",
    "Task embeddings",
    "Sparse context",
    "Distribution shift",
    "Data",
    "Protocol",
)


def import_matplotlib() -> None:
    """Import matplotlib whatever back end the surroundings name; where there is one, it stays the user's.

    A notebook's kernel names one in every process that it starts, whether or not that can import it.
    """
    if "matplotlib" in sys.modules:
        return
    with environment("MPLBACKEND", "Agg") as chosen:
        import matplotlib
    if chosen:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = chosen


import_matplotlib()  # before any file of figures does


@dataclass(frozen=True)
class Absent:
    """Why a figure that the ledger has all for cannot be made here, and what would mend it."""

    reason: str
    remedy: str
    fault: bool = False
    """Whether it failed in making, which nobody meant."""


Product: TypeAlias = "pd.DataFrame | Drawing | Absent | None"
"""What a figure's `make` gives."""


@dataclass(frozen=True)
class Figure:
    """A table or figure: what makes it, where it stands in the report, and how to read it.

    `make` gives a DataFrame of numbers (tables), a matplotlib Figure (figures), or None where the ledger has
    nothing for it; then the report prints `needs`, the command that would add it, its {fields} filled in.
    Where this machine lacks something it gives Absent, whose reason is printed.
    `show` turns a table's numbers into the cells that are printed; without it they are printed plainly.
    `note` is what the caption says of this ledger beyond `caption`, or nothing.
    `slow` says that it takes much longer than others: it is begun first where several are made at once.
    """

    name: str
    title: str
    kind: Literal["table", "figure"]
    make: Callable[[Ledger], Product]
    caption: str
    section: str = "Results"
    needs: str = "bench run"
    show: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    note: Callable[[Ledger], str] | None = None
    slow: bool = False

    def legend(self, ledger: Ledger) -> str:
        """The caption, and what it says of this ledger."""
        note = self.note(ledger) if self.note else ""
        return f"{self.caption} {note}".strip()
