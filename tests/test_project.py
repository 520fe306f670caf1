"""The walls of the house: who imports whom, how long a file may be, what the project says of itself."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from comrl.ground.discovery import declared

ROOT = Path(__file__).parent.parent
ROOMS = ("ground", "envs", "datasets", "algorithms", "benchmark")  # each may import the ones before it
INNER = ("generation", "reporting", "training", "commands")  # of benchmark, in the same order
HOMES = {"ground": ROOT / "comrl" / "ground"} | {room: ROOT / room for room in ROOMS[1:]}
SOURCES = sorted(path for home in HOMES.values() for path in home.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


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


def offenders(paths: Iterable[Path], wrong: Callable[[Path], Iterable[str]]) -> list[str]:
    """`file: what is wrong` for every file in which something is."""
    return [f"{path.relative_to(ROOT)}: {what}" for path in paths for what in wrong(path)]


def within(*rooms: str) -> list[Path]:
    return [path for path in SOURCES if any(path.is_relative_to(HOMES[room]) for room in rooms)]


def roots(path: Path) -> set[str]:
    """The top-level names that a file imports."""
    return {module.split(".")[0] for module in imported(path)}


def test_a_room_is_a_subpackage_of_the_one_import_name() -> None:
    for room in ROOMS:
        spec = importlib.util.find_spec(f"comrl.{room}")
        assert spec is not None and spec.origin is not None, room
        assert Path(spec.origin).resolve() == (HOMES[room] / "__init__.py").resolve()


def test_imports_only_point_down() -> None:
    def upward(path: Path) -> Iterator[str]:
        room = next(room for room, home in HOMES.items() if path.is_relative_to(home))
        above = tuple(f"comrl.{higher}" for higher in ROOMS[ROOMS.index(room) + 1 :])
        for module in imported(path):
            if ".".join(module.split(".")[:2]) in above:
                yield f"imports {module}, which is above {room}"

    assert not offenders(SOURCES, upward)


def test_the_rooms_of_the_protocol_only_point_down() -> None:
    """Its floor (protocol, settings, provenance), generation, reporting, training, commands."""

    def upward(path: Path) -> Iterator[str]:
        room = path.relative_to(HOMES["benchmark"]).parts[0]
        level = INNER.index(room) if room in INNER else -1
        above = tuple(f"comrl.benchmark.{higher}" for higher in INNER[level + 1 :])
        yield from (f"imports {module}" for module in imported(path) if module.startswith(above))

    assert not offenders(within("benchmark"), upward)


def test_the_one_import_name_is_comrl() -> None:
    bare = {*ROOMS, "tests"}
    assert not offenders(SOURCES + TESTS, lambda path: (f"imports {name}" for name in bare & roots(path)))


def test_no_test_imports_another() -> None:
    """What they share is in `support` and in conftest.py."""
    assert not offenders(TESTS, lambda path: (name for name in imported(path) if name.startswith("test_")))


def test_what_enters_through_one_file_does() -> None:
    """HDF5 through task files, MuJoCo through the engine; no environment needs torch."""
    for library, home in (("h5py", "taskfile.py"), ("mujoco", "engine.py")):
        others = [path for path in SOURCES if path.name != home]
        assert not offenders(others, lambda path, name=library: {name} & roots(path))
    assert not offenders(within("envs"), lambda path: {"torch"} & roots(path))


def test_files_and_functions_are_short() -> None:
    def long(path: Path) -> Iterator[str]:
        lines = len(path.read_text().splitlines())
        if lines > 350:
            yield f"{lines} lines"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 50:
                    yield f"{node.name} has {length} lines"

    assert not offenders(SOURCES + TESTS, long)


def test_no_environment_is_named_in_code() -> None:
    names = {family.name for family in declared("comrl.envs", "FAMILIES")}
    assert names and not offenders(within("benchmark", "algorithms"), lambda path: spoken(path, names))


def test_the_protocol_names_no_algorithm_in_code() -> None:
    names = {algorithm.name for algorithm in declared("comrl.algorithms", "ALGORITHMS")}
    assert names and not offenders(within("benchmark"), lambda path: spoken(path, names))


def test_no_capability_is_asked_by_class() -> None:
    """benchmark/ imports no class of a part: what a part can do is a method of its protocol."""
    shared = {
        f"comrl.algorithms.{name}" for name in ("algorithm", "learner", "belief", "behaviour", "accelerate")
    }

    def of_a_part(path: Path) -> Iterator[str]:
        for node in ast.walk(tree(path)):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("comrl.algorithms.") and module not in shared:
                yield from (alias.name for alias in node.names if alias.name[0].isupper())  # type: ignore[attr-defined]

    assert not offenders(within("benchmark"), of_a_part)


def spoken(path: Path, names: set[str]) -> Iterator[str]:
    """Strings of the code that are a name, or hold one that cannot be an ordinary word."""
    prose = docstrings(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            found = {name for name in names if name == node.value or ("-" in name and name in node.value)}
            yield from (f"line {node.lineno} names {name}; declare it as data" for name in sorted(found))


def test_what_holds_arrays_is_equal_to_itself_alone() -> None:
    """From Python 3.13 on, dataclasses compare field by field, and arrays have no one truth."""
    array = re.compile(r"\b(NDArray|Array|Arrays|Tensor|DataFrame)\b")

    def comparable(path: Path) -> Iterator[str]:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                marks = [ast.unparse(mark) for mark in node.decorator_list]
                typed = [part.annotation for part in node.body if isinstance(part, ast.AnnAssign)]
                held = [
                    text for text in map(ast.unparse, typed) if "Callable" not in text and array.search(text)
                ]
                if held and any(mark.startswith("dataclass") and "eq=False" not in mark for mark in marks):
                    yield f"{node.name} holds {held[0]}; say eq=False"

    assert not offenders(SOURCES, comparable)


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
    steps = (".venv/.python-3.12", ".venv/.torch", ".venv/.package", ".venv/.installed")
    for age, name in enumerate(("pyproject.toml", "constraints.txt", *steps)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())

    def planned() -> str:
        command = ["make", "--no-print-directory", "-n", "test", "PYTEST=-k gym", f"PYTHON={python}"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    checks = [".venv/bin/ruff check .", ".venv/bin/ruff format --check .", ".venv/bin/mypy"]
    assert planned().splitlines() == [*checks, ".venv/bin/python -m pytest -k gym"]
    os.utime(tmp_path / "constraints.txt", (9, 9))
    assert "pip install --no-compile -c constraints.txt torch" in planned()


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
