"""The walls of the house: who imports whom, how long a file may be, and what the project says of itself."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from comrl.ground.discovery import declared

ROOT = Path(__file__).parent.parent
ROOMS = ("ground", "envs", "datasets", "algorithms", "benchmark")  # each may import the ones before it
HOMES = {"ground": ROOT / "comrl" / "ground"} | {room: ROOT / room for room in ROOMS[1:]}
SOURCES = sorted(path for home in HOMES.values() for path in home.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def named(paths: list[Path]) -> pytest.MarkDecorator:
    """A test for every file."""
    return pytest.mark.parametrize("path", paths, ids=[str(path.relative_to(ROOT)) for path in paths])


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: imports are absolute"
            yield node.module or ""


def docstrings(path: Path) -> set[ast.AST]:
    """The nodes of strings that stand alone: docstrings and the notes under attributes."""
    return {node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Expr)}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_subpackage_of_the_one_import_name(room: str) -> None:
    spec = importlib.util.find_spec(f"comrl.{room}")
    assert spec is not None and spec.origin is not None
    assert Path(spec.origin).resolve() == (HOMES[room] / "__init__.py").resolve()


@named(SOURCES)
def test_imports_only_point_down(path: Path) -> None:
    room = next(room for room, home in HOMES.items() if path.is_relative_to(home))
    above = {f"comrl.{higher}" for higher in ROOMS[ROOMS.index(room) + 1 :]}
    modules = list(imported(path))
    assert not above & {".".join(module.split(".")[:2]) for module in modules}
    bare = {*ROOMS, "tests"} & {module.split(".")[0] for module in modules}
    assert not bare, f"{path} imports {bare}: the one import name is comrl"


@named([path for path in SOURCES if path.name != "store.py"])
def test_hdf5_enters_through_one_file(path: Path) -> None:
    assert "h5py" not in {module.split(".")[0] for module in imported(path)}


@named([path for path in SOURCES if path.relative_to(ROOT).parts[0] == "envs"])
def test_environments_need_no_torch(path: Path) -> None:
    assert "torch" not in {module.split(".")[0] for module in imported(path)}


@named(SOURCES + TESTS)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50, f"{node.name} has {length} lines"


@named([path for path in SOURCES if path.relative_to(ROOT).parts[0] in ("benchmark", "algorithms")])
def test_no_environment_is_named_in_code(path: Path) -> None:
    check_unnamed(path, {family.name for family in declared("comrl.envs", "FAMILIES")})


@named([path for path in SOURCES if path.relative_to(ROOT).parts[0] == "benchmark"])
def test_the_protocol_names_no_algorithm_in_code(path: Path) -> None:
    check_unnamed(path, {algorithm.name for algorithm in declared("comrl.algorithms", "ALGORITHMS")})


def check_unnamed(path: Path, names: set[str]) -> None:
    """No string of the code is a name, or holds one that cannot be an ordinary word."""
    assert names
    prose = docstrings(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            found = {n for n in names if n == node.value or ("-" in n and n in node.value)}
            assert not found, f"line {node.lineno} names {', '.join(sorted(found))}; declare it as data"


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^(make \w+)", readme, re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"], "the README opens with its two commands"
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    code = [line for line in script if line and not line.startswith(("#", "set ", "cd "))]
    assert code == ["make test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, "the script is executable"


def test_make_help_lists_every_command_of_the_readme() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = {line.split()[0] for line in shown.splitlines()}
    assert {"demo", "test", "lint", "format", "help"} <= listed
    assert set(re.findall(r"\bmake (\w+)", (ROOT / "README.md").read_text())) <= listed


@pytest.mark.parametrize("version", ["3.10", "2.7", ""])
def test_make_says_which_python_it_needs(tmp_path: Path, version: str) -> None:
    python = tmp_path / "python"
    if version:
        python.write_text(f"#!/bin/sh\necho {version}\n")
        python.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    done = subprocess.run(
        ["make", "test", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    sentence = (
        f"needs Python 3.11 or newer and {python} is {version};" if version else f"no Python at {python};"
    )
    assert sentence in done.stderr
    assert "make test PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_installs_only_once(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 3.12\n")
    python.chmod(0o755)
    (tmp_path / ".venv").mkdir()
    made = ("pyproject.toml", "constraints.txt", ".venv/.python-3.12", ".venv/.torch", ".venv/.installed")
    for age, name in enumerate(made):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())

    def planned() -> str:
        command = ["make", "--no-print-directory", "-n", "test", "PYTEST=-k gym", f"PYTHON={python}"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert planned() == ".venv/bin/python -m pytest -k gym\n"
    os.utime(tmp_path / "constraints.txt", (9, 9))
    assert "pip install -c constraints.txt torch" in planned()


def test_every_dependency_has_a_tested_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    tested = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    project = PROJECT["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name, least = requirement.split(">=")
        assert numbers(tested[name]) >= numbers(least), requirement


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_the_changelog_knows_this_version() -> None:
    changelog = (ROOT / "docs" / "CHANGELOG.md").read_text()
    assert f"## [{PROJECT['project']['version']}]" in changelog
