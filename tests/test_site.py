"""The documentation as a site: every page is in it, it builds without a warning, and it asks nobody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)="?(?:https?:)?//[^">\s]*')


def test_the_site_has_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = {name for name in re.findall(r"- (?:[^:\n]+: )?(\S+\.md)$", nav, re.MULTILINE) if "/" not in name}
    assert named == {page.name for page in (ROOT / "docs").glob("*.md")}


@pytest.mark.slow
def test_it_is_built_without_a_warning_and_asks_the_network_for_nothing(tmp_path: Path) -> None:
    for package in ("mkdocstrings", "material", "latex2mathml", "nbconvert"):
        pytest.importorskip(package, reason="the extra [docs] is not installed, or not whole")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    pages = {page.relative_to(tmp_path).as_posix(): page.read_text() for page in tmp_path.rglob("*.html")}
    for name, page in pages.items():
        assert not (asked := OUTSIDE.findall(page)), f"{name} asks {asked}"
        assert "arithmatex" not in page and 'class="katex' not in page, (
            f"{name} has a formula that is not set"
        )
    formulas = re.findall(r"(?<![\\$])\$[^$\n]+\$", (ROOT / "docs" / "equations.md").read_text())
    assert pages["equations.html"].count("<math") == len(formulas) > 60
    for module in (
        "comrl.datasets.arrays.from_arrays",
        "comrl.envs.family.TaskFamily",
        "comrl.ground.errors.BadInput",
    ):
        room = module.split(".")[1]
        assert f'id="{module}"' in pages[f"api/{room}.html"]
