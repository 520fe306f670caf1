"""docs/equations.md against the code: what is tagged is listed, what is listed exists, tests included."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
TAG = re.compile(r"\[(?:focal(?:pp)?|pearl|bcq|mbml|unicorn|csro|corro|idaq) [^\]]+\]")
PLACE = re.compile(r"\[focal(?:pp)? (?:Table|Fig\.|App\.)")  # where something is printed, not what it says
LISTED = re.compile(
    r"^\| (?P<tag>`\[.*?\]`|–) \| (?P<says>[^|]+) \| \$(?P<formula>[^$|]+)\$ \| `(?P<function>\S+)`"
    r" \| (?P<tests>`.+`) \|$",
    re.M,
)


class Row(NamedTuple):
    tag: str
    function: str
    tests: tuple[str, ...]


def listed() -> list[Row]:
    text = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| tag")]
    found = [
        Row(m["tag"].strip("`"), m["function"], tuple(re.findall(r"`([^`]+)`", m["tests"])))
        for m in LISTED.finditer(text)
    ]
    assert len(found) == len(rows), "a row of docs/equations.md has another form than the rest"
    return found


def defined(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every function and class of a file by its qualified name, and the module itself under no name."""
    pending: list[tuple[str, ast.AST]] = [("", ast.parse(path.read_text(encoding="utf-8")))]
    while pending:
        name, node = pending.pop()
        yield name, node
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                pending.append((f"{name}.{child.name}".strip("."), child))


@cache
@cache
def names_of(file: str) -> set[str]:
    """The qualified names that a test module defines."""
    return {name for name, _ in defined(ROOT / "tests" / file)}


def documented() -> tuple[tuple[str, str], ...]:
    """(module:name, docstring) of all that the four packages define."""
    found = []
    for package in ("envs", "datasets", "algorithms", "benchmark"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for name, node in defined(path):
                text = ast.get_docstring(node) or ""  # type: ignore[arg-type]
                found.append((f"{module}:{name}", " ".join(text.split())))
    return tuple(found)


def test_the_list_and_the_code_name_the_same() -> None:
    code = {(tag, function) for function, text in documented() for tag in TAG.findall(text)}
    page = {(row.tag, row.function) for row in listed() if row.tag != "–"}
    assert page <= code, f"listed, but no docstring says so: {sorted(page - code)}"
    missing = {pair for pair in code - page if not PLACE.match(pair[0])}
    assert not missing, f"tagged, but not in docs/equations.md: {sorted(missing)}"
    assert len(page) > 15


def test_no_row_is_there_twice() -> None:
    pairs = [(row.tag, row.function) for row in listed()]
    assert len(pairs) == len(set(pairs))


def test_listed_functions_and_tests_exist(subtests: pytest.Subtests) -> None:
    functions = {function for function, _ in documented()}
    for row in listed():
        with subtests.test(row.function):
            assert row.function in functions
            for test in row.tests:
                file, _, name = test.partition("::")
                assert name in names_of(file), f"{test} does not exist"
