"""Tables in print: numbers as strings, and one table as Markdown, LaTeX (booktabs) or HTML."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

import pandas as pd

NONE = "–"
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "·": r"$\cdot$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "τ": r"$\tau$",
    "μ": r"$\mu$",
    "₁": "$_1$",
    "₂": "$_2$",
    "₃": "$_3$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
}


def missing(value: Any) -> bool:
    """Whether a cell has nothing in it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def fixed(value: Any) -> str:
    """Two decimals, one for large numbers; a dash for nothing: returns, shares, scores."""
    if missing(value):
        return NONE
    text = f"{value:.2f}" if abs(value) < 1000 else f"{value:.1f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def number(value: Any) -> str:
    """The same, with powers of ten for what two decimals cannot show; words and counts as they are."""
    if isinstance(value, str | bool | int):
        return str(value)
    if not missing(value) and value and abs(value) < 0.005:
        return f"{value:.2e}".replace("e-0", "e-").replace("-", "−")
    return fixed(value)


def plain(value: Any) -> str:
    """A setting as a person writes it: no trailing zeros."""
    return NONE if missing(value) else f"{value:g}" if isinstance(value, float) else str(value)


def with_spread(mean: Any, std: Any, show: Callable[[Any], str] = fixed) -> str:
    """Mean (standard deviation)."""
    return show(mean) if missing(std) else f"{show(mean)} ({show(std)})"


def interval(low: Any, high: Any) -> str:
    """[low, high]."""
    return NONE if missing(low) else f"[{fixed(low)}, {fixed(high)}]"


def once(values: pd.Series) -> pd.Series:
    """A column whose repeats are left blank: it names groups of rows."""
    return values.where(values != values.shift(), "")


def printed(frame: pd.DataFrame) -> pd.DataFrame:
    """Every cell as a string, plainly."""
    return frame.map(number)


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table."""
    numeric = _numeric(frame)
    rule = ["---:" if right else "---" for right in numeric]
    rows = [list(frame.columns), rule, *frame.to_numpy().tolist()]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table that compiles as it is; groups of rows are ruled off."""
    columns = "".join("r" if right else "l" for right in _numeric(frame))
    head = " & ".join(_latex(cell) for cell in frame.columns)
    lines = [
        r"\begin{table}[t]",
        r"\centering\small",
        rf"\caption{{{_latex(caption)}}}",
        rf"\label{{tab:{label}}}",
    ]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head + r" \\", r"\midrule"]
    starts = group_starts(frame)
    for i, row in enumerate(frame.to_numpy().tolist()):
        if i and i in starts:
            lines.append(r"\midrule")
        lines.append(" & ".join(_latex(cell) for cell in row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def html(frame: pd.DataFrame) -> str:
    """The bare table, groups of rows under a line of their own; the page's style does the rest."""
    starts, numeric = group_starts(frame), _numeric(frame)
    first = 1 if starts else 0
    body = frame.iloc[:, first:].to_numpy().tolist()
    rows = [_row("th", frame.columns[first:].tolist(), numeric[first:])]
    for i, cells in enumerate(body):
        if i in starts:
            title = escape(str(frame.iloc[i, 0]))
            rows.append(f'<tr class="group"><th colspan="{len(cells)}">{title}</th></tr>')
        rows.append(_row("td", cells, numeric[first:]))
    return f"<table><thead>{rows[0]}</thead><tbody>{''.join(rows[1:])}</tbody></table>"


def group_starts(frame: pd.DataFrame) -> set[int]:
    """Rows that start a group: those whose first cell is filled, where some row's is not."""
    first = [str(cell) for cell in frame.iloc[:, 0]]
    return {i for i, cell in enumerate(first) if cell} if "" in first else set()


def _row(tag: str, cells: list[Any], numeric: list[bool]) -> str:
    marked = zip(cells, numeric, strict=True)
    return (
        "<tr>"
        + "".join(f"<{tag}{' class=n' if n else ''}>{escape(str(c))}</{tag}>" for c, n in marked)
        + "</tr>"
    )


def _numeric(frame: pd.DataFrame) -> list[bool]:
    """Which columns are numbers to the eye, but for a word or two, and so stand to the right."""
    shares = [frame.iloc[:, i].map(_looks_numeric).mean() for i in range(frame.shape[1])]
    return [share > 0.9 for share in shares]


def _looks_numeric(cell: Any) -> bool:
    text = str(cell)
    return text in ("", NONE, "yes", "no") or text[0] in "[−-+.0123456789"


def _latex(content: Any) -> str:
    return "".join(LATEX.get(letter, letter) for letter in str(content))
