"""How every figure looks: one type size, one palette that follows the algorithm, little ink."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.text import Text

from comrl.benchmark.reporting.figures.views import in_the_paper, method_labels, the_papers
from comrl.benchmark.reporting.ledger import Ledger

Colour = str | tuple[float, float, float, float]
COLUMN = 3.4  # inches: one column of a paper
PAGE = 7.0  # both columns

# Okabe and Ito's colours, told apart with any colour vision, in an order that keeps neighbours far apart
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F", "#000000")
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
STROKES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.2)),
    (0, (1.5, 1)),
)  # of the first eight methods, the next, the rest
UPPER: dict[str, Any] = {"color": "#333333", "linestyle": (0, (5, 2)), "linewidth": 0.9}
TOP: dict[str, Any] = {"color": "#333333", "linestyle": (0, (7, 2, 1, 2)), "linewidth": 0.9}
LOWER: dict[str, Any] = {"color": "#888888", "linestyle": (0, (1, 1.2)), "linewidth": 1.1}
BEST: dict[str, Any] = {"color": "#333333", "linestyle": "-", "linewidth": 0.6}
QUIET = "#b8b8b8"
LINES = {"upper": UPPER, "top": TOP, "lower": LOWER}
NOT_KEPT = {"svg": ("Date", "Creator"), "png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer")}
"""What a file would say of when and by what it was made."""
TASKS = "viridis"  # tasks, ordered by their first parameter

SETTINGS: dict[str, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "patch.linewidth": 0.6,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "savefig.dpi": 200,
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "comrl-bench",
    "pdf.fonttype": 42,  # letters stay letters, in fonts that publishers take
    "mathtext.fontset": "dejavusans",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw without a screen, in the style of the report; the user's back end, style and figures come back."""
    import matplotlib.pyplot as plt

    chosen, theirs = mpl.get_backend(auto_select=False), plt.get_fignums()
    mpl.use("Agg")
    try:
        with mpl.rc_context():
            mpl.rcdefaults()
            with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]
                yield
    finally:
        for number in set(plt.get_fignums()).difference(theirs):
            plt.close(number)
        if chosen:
            with suppress(ImportError):  # named by a kernel, and not installed here
                mpl.use(chosen)


def colours(ledger: Ledger) -> dict[str, str]:
    """A colour for every method in print: the paper's algorithms always have the same, others follow them."""
    return {label: PALETTE[i % len(PALETTE)] for label, i in _numbered(ledger).items()}


def markers(ledger: Ledger) -> dict[str, str]:
    """A marker for every method in print, so that colour is never alone in telling them apart."""
    each = len(MARKERS)  # those that share a colour have other markers
    return {label: MARKERS[(i + i // each) % each] for label, i in _numbered(ledger).items()}


def strokes(ledger: Ledger) -> dict[str, Any]:
    """A line style for every method in print: those that share a colour have other ones."""
    last = len(STROKES) - 1
    return {label: STROKES[min(i // len(PALETTE), last)] for label, i in _numbered(ledger).items()}


def looks(ledger: Ledger) -> dict[str, dict[str, Any]]:
    """How the line of every algorithm in print looks: a method by its number, a yardstick by its role."""
    colour, marker, stroke = colours(ledger), markers(ledger), strokes(ledger)
    yardsticks = {run.label: LINES[run.role] for run in ledger.runs if run.role in LINES}
    methods = {
        label: {"color": colour[label], "marker": marker[label], "linestyle": stroke[label]}
        for label in colour
    }
    return yardsticks | methods


def _numbered(ledger: Ledger) -> dict[str, int]:
    known = the_papers()
    number = {run.label: known.index(run.algo) for run in ledger.runs if in_the_paper(run)}
    others = [label for label in method_labels(ledger) if label not in number]
    return number | {label: len(known) + i for i, label in enumerate(others)}


def panels(
    count: int, *, columns: int = 3, width: float = PAGE, height: float = 2.2, times: int = 1
) -> tuple[Drawing, list[Axes]]:
    """A figure of so many panels, at most so many in a row, and so many times, each time from a new row;
    `height` is that of one panel.
    """
    import matplotlib.pyplot as plt

    across = 2 if count == 4 else min(columns, count)
    down = -(-count // across)
    full = width if across > 1 else min(width, COLUMN * 1.25)
    figure, axes = plt.subplots(down * times, across, figsize=(full, height * down * times), squeeze=False)
    blocks = axes.reshape(times, down * across)
    for spare in blocks[:, count:].flat:
        spare.axis("off")
    return figure, list(blocks[:, :count].flat)


def legend_below(figure: Drawing, axes: Sequence[Axes]) -> None:
    """One legend for all panels, under them."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        widest = 0.45 + 0.055 * max(map(len, found))  # inches: a line and its label
        columns = max(1, min(4, int(figure.get_figwidth() / widest)))
        rows = -(-len(found) // columns)
        figure.set_figheight(figure.get_figheight() + 0.08 + 0.15 * rows)
        figure.legend(
            found.values(), found.keys(), loc="outside lower center", ncols=min(columns, len(found))
        )


def on_lines(name: str, widest: int) -> str:
    """A name on lines of so many letters at most, what is in parentheses on its own."""
    return "\n".join(textwrap.fill(line, widest) for line in name.replace(" (", "\n(").splitlines())


def task_key(figure: Drawing, axes: Sequence[Axes]) -> None:
    """A bar below the panels that says which colour is which task."""
    scale = mpl.cm.ScalarMappable(cmap=TASKS)
    bar = figure.colorbar(scale, ax=list(axes), location="bottom", shrink=0.3, aspect=40, pad=0.02)
    bar.set_ticks([])
    bar.set_label("task, from the lowest to the highest first parameter")
    bar.outline.set_visible(False)


def task_shades(count: int) -> list[float]:
    """The shades of so many tasks, between 0 and 1; a few keep off the ends, which are hard to see."""
    low, high = (0.0, 1.0) if count > 5 else (0.15, 0.75)
    return [low + (high - low) * i / max(1, count - 1) for i in range(count)]


def task_colour(shade: float) -> Colour:
    """The colour of a task whose shade is between 0 and 1."""
    return mpl.colormaps[TASKS](shade)


def square_map(axis: Axes) -> None:
    """A map: equal axes, a light frame, no ticks in the way."""
    axis.set_aspect("equal", adjustable="datalim")
    axis.tick_params(length=1.5)


def letter(axes: Sequence[Axes]) -> None:
    """Put (a), (b), ... before the panels' titles."""
    for i, axis in enumerate(axes):
        axis.set_title(f"({chr(97 + i)}) {axis.get_title(loc='left')}")


def draw_names_as_they_are(figure: Drawing) -> None:
    """No name is mathematics, whatever dollars it has: only the powers on logarithmic axes are."""
    axes = [axis for pair in figure.axes for axis in (pair.xaxis, pair.yaxis) if axis.get_scale() == "log"]
    powers = {label for axis in axes for label in axis.get_ticklabels(which="both")}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in powers:
            text.set_parse_math(False)


def rendered(figure: Drawing, *kinds: str) -> list[bytes]:
    """The figure as `svg`, `png` or `pdf`, one after another, laid out once, the same bytes every time."""
    draw_names_as_they_are(figure)
    found = []
    for kind in kinds:
        out = io.BytesIO()
        figure.savefig(out, format=kind, metadata=dict.fromkeys(NOT_KEPT[kind]))
        figure.set_layout_engine("none")  # where everything lies is known now; to find it takes the longest
        found.append(_of_few_colours(out) if kind == "png" else out.getvalue())
    return found


def _of_few_colours(png: io.BytesIO) -> bytes:
    """The picture with 256 colours, the rare ones too, which look the same in a third of the bytes."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(png) as image:
        few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(out, "PNG", optimize=True, dpi=image.info["dpi"])
    return out.getvalue()
