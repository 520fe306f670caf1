"""Tables in print: numbers as strings, and one table as Markdown, LaTeX (booktabs) or HTML."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

import pandas as pd
from pydantic import JsonValue

Cell = str | float | None
Row = dict[str, Cell]
"""A row of a table by column."""
NONE = "–"
BESIDE = "  "
"""How the first cell of a row starts that stands beside the row above it."""
LONG, WIDE = 45, 88
"""Rows and characters across from which a LaTeX table breaks over pages, and is set smaller."""
SENTENCE = 48
"""Characters from which a cell is a sentence and may take several lines."""
TINY, SMALL, LARGE = 0.005, 0.1, 100
"""Below which numbers are powers of ten, have three decimals, and two instead of one."""
ALIKE = 1e-9
"""No further apart, two numbers are one."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that spreadsheets take for a formula."""
MARKDOWN = {"\\": r"\\", "|": r"\|", "&": "&amp;", "<": "&lt;", ">": "&gt;", "`": r"\`"}
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
    "≥": r"$\geq$",
    "²": "$^2$",
    "±": r"$\pm$",
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


def missing(value: Cell) -> bool:
    """Whether a cell has nothing in it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def fixed(value: float | None) -> str:
    """Two decimals, one for large numbers; a dash for nothing: returns, shares, scores."""
    return NONE if value is None or math.isnan(value) else _signed(value, _decimals(value))


def beside(value: float | None, limit: float = 0.5, decimals: int = 3) -> str:
    """So many decimals, and more where fewer would print the limit for a value beside it."""
    if value is None or math.isnan(value):
        return NONE
    text = f"{value:.{decimals}f}"
    return text if float(text) != limit or abs(value - limit) < ALIKE else beside(value, limit, decimals + 1)


def _decimals(value: float) -> int:
    return 2 if abs(value) < LARGE else 1


def _signed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def number(value: Cell) -> str:
    """The same, with more decimals or powers of ten where two say little; words and counts as they are."""
    if isinstance(value, str | bool | int):
        return str(value)
    if not value or math.isnan(value) or abs(value) >= SMALL:
        return fixed(value)
    if abs(value) < TINY:
        return f"{value:.2e}".replace("e-0", "e-").replace("-", "−")
    return _signed(value, 3)


def plain(value: JsonValue) -> str:
    """A setting as a person writes it: no trailing zeros."""
    if isinstance(value, float):
        return NONE if math.isnan(value) else f"{value:g}"
    return NONE if value is None else str(value)


def mean_std(mean: float, std: float | None, show: Callable[[float], str] = fixed) -> str:
    """Mean (standard deviation), both with the decimals of the mean where these are fixed.

    A deviation that would be zero by these has its own.
    """
    if std is None or math.isnan(std):
        return show(mean)
    if show is not fixed:
        return f"{show(mean)} ({show(std)})"
    decimals = _decimals(mean)
    return f"{fixed(mean)} ({_signed(std, decimals if round(std, decimals) else _decimals(std))})"


def interval(low: float | None, high: float | None, show: Callable[[float | None], str] = fixed) -> str:
    """[low, high]."""
    return NONE if missing(low) else f"[{show(low)}, {show(high)}]"


def once(values: pd.Series) -> pd.Series:
    """A column whose repeats are left blank: it names groups of rows."""
    return values.where(values != values.shift(), "")


def printed(frame: pd.DataFrame) -> pd.DataFrame:
    """Every cell as a string, plainly."""
    return frame.map(number)


def csv(frame: pd.DataFrame) -> str:
    """Numbers and words as they are, but that no word is a spreadsheet's formula."""
    safe = {
        _no_formula(name): pd.Series([_no_formula(cell) for cell in column], column.index, dtype=object)
        for name, column in frame.items()
    }
    return pd.DataFrame(safe).to_csv(index=False, lineterminator="\n")


def _no_formula(cell: Any) -> Any:
    """A cell as it is, words of a formula's look behind a mark that spreadsheets do not show."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table, in which no word is markup."""
    numeric = _numeric(frame)
    rule = ["---:" if right else "---" for right in numeric]
    rows = [list(frame.columns), rule, *frame.to_numpy().tolist()]
    return "".join("| " + " | ".join(map(_plain_markdown, row)) + " |\n" for row in rows)


def _plain_markdown(cell: Cell) -> str:
    """A cell on one line, whatever letters it has."""
    line = " ".join(str(cell).splitlines())
    return "".join(MARKDOWN.get(letter, letter) for letter in line).replace("](", r"]\(")  # no link either


def latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table that compiles as it is; groups of rows stand under a line of their own.

    Long ones break over pages and need longtable, wide ones are set to the line's width and need graphicx.
    """
    first, starts = _grouped(frame)
    kinds = zip(_numeric(frame)[first:], _sentences(frame)[first:], strict=True)
    columns = "".join(r"p{.25\linewidth}" if long else "r" if right else "l" for right, long in kinds)
    count = frame.shape[1] - first
    head = " & ".join(_latex_head(str(cell)) for cell in frame.columns[first:]) + r" \\"
    rows = []
    for i, row in enumerate(frame.to_numpy().tolist()):
        if i in starts:
            rows += [r"\addlinespace"] if i else []
            rows.append(rf"\multicolumn{{{count}}}{{l}}{{\textit{{{_latex(row[0])}}}}} \\")
        rows.append(" & ".join(_latex(cell) for cell in row[first:]) + r" \\")
    named = rf"\caption{{{_latex(caption)}}}", rf"\label{{tab:{label}}}"
    if len(frame) > LONG:
        lines = [r"{\footnotesize", rf"\begin{{longtable}}{{{columns}}}", *named, r"\\", r"\toprule", head]
        lines += [r"\midrule", r"\endhead", *rows, r"\bottomrule", r"\end{longtable}", "}", ""]
        return "\n".join(lines)
    wide = sum(_width(frame.iloc[:, i]) + 2 for i in range(first, frame.shape[1])) > WIDE
    lines = [r"\begin{table}[t]", r"\centering\small", *named]
    lines += [r"\resizebox{\linewidth}{!}{%"] * wide
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}" + "}" * wide, r"\end{table}", ""])


def html(frame: pd.DataFrame) -> str:
    """The bare table, groups of rows under a line of their own; the page's style does the rest."""
    first, starts = _grouped(frame)
    numeric, long = _numeric(frame)[first:], _sentences(frame)[first:]
    heads = [
        _cell("th", cell, n, wraps(str(cell))) for cell, n in zip(frame.columns[first:], numeric, strict=True)
    ]
    rows = []
    for i, cells in enumerate(frame.iloc[:, first:].to_numpy().tolist()):
        if i in starts:
            title = escape(str(frame.iloc[i, 0]))
            rows.append(f'<tr class="group"><th colspan="{len(cells)}">{title}</th></tr>')
        beside = " class=beside" if str(cells[0]).startswith(BESIDE) else ""
        row = "".join(_cell("td", cell, *kind) for cell, *kind in zip(cells, numeric, long, strict=True))
        rows.append(f"<tr{beside}>{row}</tr>")
    return f"<table><thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _sentences(frame: pd.DataFrame) -> list[bool]:
    """Which columns hold sentences."""
    return [any(len(str(cell)) > SENTENCE for cell in frame.iloc[:, i]) for i in range(frame.shape[1])]


def _grouped(frame: pd.DataFrame) -> tuple[int, set[int]]:
    """The first column that is shown, and the rows that start a group."""
    starts = group_starts(frame)
    return (1 if starts else 0), starts


def wraps(head: str) -> bool:
    """Whether a column's name is so long that it may take two lines."""
    return len(head) > 16


def _width(column: pd.Series) -> int:
    """The characters that a column takes across."""
    head = str(column.name)
    return max([len(head) // (2 if wraps(head) else 1), *(min(len(str(cell)), SENTENCE) for cell in column)])


def _latex_head(head: str) -> str:
    """A column's name, on two lines where it is long."""
    breaks = [i + 1 for i, letter in enumerate(head) if letter in " -"] if wraps(head) else []
    if not breaks:
        return _latex(head)
    at = min(breaks, key=lambda i: abs(i - len(head) / 2))
    return rf"\shortstack{{{_latex(head[:at].strip())}\\{_latex(head[at:])}}}"


def group_starts(frame: pd.DataFrame) -> set[int]:
    """Rows that start a group: those whose first cell is filled, where some row's is not."""
    first = [str(cell) for cell in frame.iloc[:, 0]]
    return {i for i, cell in enumerate(first) if cell} if "" in first else set()


def _cell(tag: str, content: Cell, numeric: bool, wrap: bool = False) -> str:
    names = " ".join(["n"] * int(numeric) + ["wrap"] * int(wrap))
    kind = f' class="{names}"' if names else ""
    return f"<{tag}{kind}>{escape(str(content))}</{tag}>"


def _numeric(frame: pd.DataFrame) -> list[bool]:
    """Which columns are numbers to the eye, but for a word or two, and so stand to the right."""
    columns = ([cell for cell in frame.iloc[:, i] if cell != ""] for i in range(frame.shape[1]))
    return [sum(map(_looks_numeric, cells)) > 0.9 * len(cells) for cells in columns]


def _looks_numeric(cell: Cell) -> bool:
    text = str(cell)
    return text in (NONE, "yes", "no") or text[0] in "[−-+.0123456789"


def _latex(content: Cell) -> str:
    text = str(content)
    indent = r"\quad " if text.startswith(BESIDE) else ""
    return indent + "".join(LATEX.get(letter, letter) for letter in text.strip())
