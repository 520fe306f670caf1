"""The notebooks of docs/: executed without an error, true in every name and link, and executable again."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import check_names

from comrl.benchmark.commands.cli import parser

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "notebooks"
LARGEST = 400_000  # bytes
each = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    """The cells of a kind, their sources as one string."""
    found = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def commands(path: Path) -> Iterator[list[str]]:
    """The words of each command of the shell, up to a pipe."""
    for cell in cells(path, "code"):
        for line in cell["source"].replace("\\\n", " ").splitlines():
            if line.startswith("!"):
                yield shlex.split(line[1:].partition("|")[0])


def programs(path: Path) -> Iterator[ast.Module]:
    """The Python of each cell, be it run or written to a file; commands of the shell left out."""
    for cell in cells(path, "code"):
        source = re.sub(r"^!(.*\\\n)*.*$", "", cell["source"], flags=re.MULTILINE)
        yield ast.parse(re.sub(r"^%%writefile .*\.py$", "", source, flags=re.MULTILINE))


def pictures(path: Path) -> list[int]:
    """How many pictures each cell of code shows."""
    return [
        sum("image/png" in output.get("data", {}) for output in cell["outputs"])
        for cell in cells(path, "code")
    ]


@each
def test_it_is_committed_small_executed_in_order_and_without_an_error(path: Path) -> None:
    assert path.stat().st_size <= LARGEST
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output["text"] for output in outputs if output.get("name") == "stderr"]
    told = "".join("".join(output.get("text", "")) for output in outputs)
    assert not re.search(r"^(bench: |usage: |Traceback)|command not found", told, re.MULTILINE), told
    assert sum(pictures(path)) >= 4


@each
def test_what_it_imports_exists(path: Path) -> None:
    names = []
    for node in (node for program in programs(path) for node in ast.walk(program)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("comrl."):
            names.append(ast.unparse(node))
    ours = [name for name in names if name.startswith("comrl.")]
    assert len(ours) >= 5
    for name in ours:
        there(name)


def there(name: str) -> object:
    """What a dotted name leads to; a module is imported on the way."""
    home, _, last = name.rpartition(".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return getattr(there(home), last)


@each
def test_its_commands_can_be_given(path: Path) -> None:
    """What it declares itself, in a package of its own, is stood in for by what everybody has."""
    instead = {}
    for cell in cells(path, "code"):
        for kind, known in (("FAMILIES", "sparse-point-robot"), ("ALGORITHMS", "focal")):
            if f"\n{kind} = " in cell["source"]:
                instead |= dict.fromkeys(re.findall(r'\bname="([\w-]+)"', cell["source"]), known)
    given = [
        [instead.get(word, word) for word in words[1:]] for words in commands(path) if words[0] == "bench"
    ]
    assert {"generate-data", "run", "report"} <= {words[0] for words in given}
    for words in given:
        check_names(vars(parser().parse_args(words)), words[0])


@each
def test_it_is_in_the_site_and_its_links_lead_somewhere(path: Path) -> None:
    assert f"- notebooks/{path.stem}.md\n" in (ROOT / "mkdocs.yml").read_text()
    for page in ("index.md", "quickstart.md"):
        assert f"](notebooks/{path.name})" in (ROOT / "docs" / page).read_text()
    text = "\n".join(cell["source"] for cell in cells(path, "markdown"))
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in link or (path.parent / link).exists(), f"{path.name} links to {link}"
    for file in re.findall(r"`((?:tests|docs|benchmark)/[\w/.]+)`", text):
        assert (ROOT / file).exists(), f"{path.name} names {file}"


@each
@pytest.mark.slow
def test_it_can_be_executed_again(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra [docs] is not installed")
    nbformat = pytest.importorskip("nbformat")
    bin_first = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for name, value in {"PATH": bin_first, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MPLBACKEND")  # the kernel's own is to be there, as for a reader
    notebook = nbformat.read(path, 4)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=1800, record_timing=False, resources=where).execute()
    again = tmp_path / path.name
    nbformat.write(notebook, again)
    assert pictures(again) == pictures(path)
