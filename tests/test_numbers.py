"""The numbers that the README shows are those of the report it links to, and a dash is what was not run."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "results" / "reference" / "report" / "tables"
BEST = ("best possible", "behaviour data: expert")  # rows of the report, the first one's where there is one


def cells_of(table: str) -> list[list[str]]:
    """The rows of a Markdown table's cells, its head first."""
    lines = [line.strip().strip("|").split("|") for line in table.splitlines() if set(line) - set("|-: ")]
    return [[cell.strip() for cell in line] for line in lines]


def reported() -> dict[tuple[str, str], str]:
    """What the report's first table has for every environment and algorithm: a mean and its deviation."""
    environment, told = "", dict[tuple[str, str], str]()
    for first, algorithm, mean, *_ in cells_of((TABLES / "table1.md").read_text())[1:]:
        environment = first.partition(",")[0] or environment
        told[environment, algorithm] = mean
    return told


def test_the_readmes_results_are_those_of_the_report() -> None:
    section = (ROOT / "README.md").read_text().partition("## Reference results")[2]
    (_, *columns), *rows = cells_of(section[section.index("\n|") : section.rindex("|\n") + 1])
    told = reported()
    homes = [next(name for name, _ in told if column in name) for column in columns]
    assert len({*homes}) == len(columns) == 6 and len(rows) > 6
    for label, *cells in rows:
        for home, cell in zip(homes, cells, strict=True):
            rivals = BEST if label.startswith(BEST[0]) else (label,)
            known = [told[home, name] for name in rivals if (home, name) in told]
            assert cell == (known[0] if known else "–"), (label, home)
