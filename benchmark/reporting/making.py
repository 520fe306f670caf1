"""Tables and figures made and written to their files, one after another or by processes side by side."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import pandas as pd

from comrl.benchmark.reporting import tables
from comrl.benchmark.reporting.figures import Absent, Figure, style
from comrl.benchmark.reporting.ledger import Ledger
from comrl.ground.discovery import by_name, declared
from comrl.ground.processes import Tell, do_beside
from comrl.ground.showing import bar, each

INLINE_SVG = 350_000  # bytes; a figure with more ink than that is shown as pixels


@dataclass(frozen=True)
class Made:
    """A table or figure as the page shows it: caption, HTML, and the files that hold it."""

    figure: Figure
    caption: str
    body: str
    files: tuple[str, ...]


Outcome = Made | Absent | None
"""None: the ledger has nothing for it."""


def declared_figures() -> tuple[Figure, ...]:
    """Every table and figure that is declared."""
    return declared("comrl.benchmark.reporting.figures", "FIGURES")


def make_all(
    chosen: Sequence[Figure], ledger: Ledger, folder: Path, processes: int, progress: bool
) -> list[Outcome]:
    """What becomes of each of some declared tables and figures, whose files come into the folder."""
    if processes == 1:
        shown = each(chosen, "report", "figure") if progress else chosen
        return [kept(figure, ledger, folder) for figure in shown]
    first = sorted(range(len(chosen)), key=lambda i: not chosen[i].slow)  # or the others would wait for it
    names = [chosen[i].name for i in first]
    with bar(len(chosen), 0, "report", unit="figure", tenths=True) if progress else nullcontext() as line:
        finished = line.update if line else lambda: None
        found = do_beside(
            partial(_kept, ledger, folder), names, processes, heard=lambda *_: None, finished=finished
        )
    made: dict[int, Outcome] = {}
    for i, outcome in zip(first, found, strict=True):
        if isinstance(outcome, Exception):
            raise outcome
        made[i] = Made(chosen[i], *outcome) if isinstance(outcome, tuple) else outcome
    return [made[i] for i in range(len(chosen))]


def _kept(
    ledger: Ledger, folder: Path, name: str, tell: Tell
) -> tuple[str, str, tuple[str, ...]] | Absent | None:
    """The work of a process: the ledger comes to it once, names one by one.

    What goes back is without the figure, whose functions may be any that cannot be sent.
    """
    made = kept(by_name(declared_figures(), name, "figure"), ledger, folder)
    return (made.caption, made.body, made.files) if isinstance(made, Made) else made


def kept(figure: Figure, ledger: Ledger, folder: Path) -> Outcome:
    """Make one table or figure and write its files; None where the ledger has nothing for it.

    One that fails is absent with its reason, and costs no other.
    """
    try:
        with style.styled():
            made = _make(figure, ledger)
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return Absent(f"it could not be made ({why})", f"mend {figure.make.__module__}", fault=True)
    if made is None or isinstance(made, Absent):
        return made
    shown, files = made
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return shown


def _make(figure: Figure, ledger: Ledger) -> tuple[Made, dict[str, bytes]] | Absent | None:
    """What the page shows of a table or figure, and the bytes of its files by name."""
    product = figure.make(ledger)
    if product is None or isinstance(product, Absent):
        return product
    as_files = _table if figure.kind == "table" else _figure
    body, files = as_files(figure, figure.legend(ledger), product)
    return Made(figure, figure.legend(ledger), body, tuple(files)), files


def _table(figure: Figure, caption: str, frame: pd.DataFrame) -> tuple[str, dict[str, bytes]]:
    shown = figure.show(frame) if figure.show else tables.printed(frame)
    texts = {
        "md": tables.markdown(shown),
        "csv": tables.csv(frame),
        "tex": tables.latex(shown, f"{figure.title}. {caption}", figure.name),
    }
    files = {f"tables/{figure.name}.{ending}": text.encode() for ending, text in texts.items()}
    return tables.html(shown), files


def _figure(figure: Figure, caption: str, drawing: style.Drawing) -> tuple[str, dict[str, bytes]]:
    svg, png, pdf = style.rendered(drawing, "svg", "png", "pdf")
    kind, content = ("svg+xml", svg) if len(svg) <= INLINE_SVG else ("png", png)
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    width = drawing.get_figwidth() / style.PAGE
    image = f'<img src="{source}" alt="{escape(figure.title)}" style="width: {width:.0%}">'
    return image, {f"figures/{figure.name}.png": png, f"figures/{figure.name}.pdf": pdf}
