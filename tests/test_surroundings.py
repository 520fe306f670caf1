"""What a user's folder and environment say changes nothing of ours, and comes back as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from support.ledgers import FOCAL, MUJOCO, WIND, add_run

from comrl.benchmark.protocol import presets
from comrl.benchmark.reporting import drawing
from comrl.benchmark.reporting.figures import style
from comrl.benchmark.reporting.report import write_report
from comrl.ground.surroundings import environment

ROOT = Path(__file__).parent.parent
HOMES = ("algorithms", "benchmark", "comrl/ground", "datasets", "envs")
HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as every notebook's kernel does
    "MUJOCO_GL": "no-such-thing",
    "PYTHONUTF8": "0",
    "LC_ALL": "C",
}
STYLE = "text.usetex: True\nfont.size: 30\nsvg.fonttype: none\naxes.grid: True\n"


def bench(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, given in that folder."""
    code = "import sys; from comrl.benchmark.commands.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", code, *words]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_a_report_is_the_same_in_any_surroundings(tmp_path: Path) -> None:
    """Beside folders of the names of ours, in a notebook, with a style of the user's and another encoding."""
    add_run(tmp_path / "results", WIND, FOCAL)
    expected = write_report(tmp_path / "results", tmp_path / "report", progress=False).read_bytes()
    for name in (*HOMES, "numpy", "matplotlib"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the user' + chr(39) + 's own')\n")
    (tmp_path / "matplotlibrc").write_text(STYLE)
    done = bench(tmp_path, "report", "--out", "other", **HOSTILE, MATPLOTLIBRC=str(tmp_path / "matplotlibrc"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other" / "index.html").read_bytes() == expected


def test_everything_is_listed_where_nothing_can_be_drawn(tmp_path: Path) -> None:
    done = bench(tmp_path, "list", **HOSTILE)
    assert done.returncode == 0 and MUJOCO[0].name in done.stdout, done.stderr
    assert "Traceback" not in done.stderr


def test_pictures_are_drawn_beside_files_of_a_librarys_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they cannot be drawn, the sentence is of graphics and not of the user's file."""
    (tmp_path / "numpy.py").write_text("raise RuntimeError('mine')\n")
    monkeypatch.chdir(tmp_path)
    try:
        pictures = drawing.draw_films({MUJOCO[0].name: np.zeros((1, 18), dtype=np.float32)})
        assert pictures[MUJOCO[0].name].shape[-1] == 3
    except OSError as error:
        assert "mine" not in str(error)


def test_the_users_back_end_and_style_come_back() -> None:
    before, size = mpl.get_backend(), mpl.rcParams["font.size"]
    try:
        mpl.use("svg")
        mpl.rcParams["font.size"] = 30.0
        with style.styled():
            assert (mpl.get_backend().lower(), mpl.rcParams["font.size"]) == ("agg", 7.5)
        assert (mpl.get_backend(), mpl.rcParams["font.size"]) == ("svg", 30.0)
    finally:
        mpl.use(before)
        mpl.rcParams["font.size"] = size


def test_an_environment_variable_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMRL_TEST", "theirs")
    with environment("COMRL_TEST", "ours") as chosen:
        assert (os.environ["COMRL_TEST"], chosen) == ("ours", "theirs")
    assert os.environ["COMRL_TEST"] == "theirs"
    monkeypatch.delenv("COMRL_TEST")
    with environment("COMRL_TEST", "ours") as chosen:
        assert chosen is None
    assert "COMRL_TEST" not in os.environ


@pytest.mark.slow
def test_a_notebooks_back_end_stays_the_notebooks(tmp_path: Path) -> None:
    """Whichever of the two imports matplotlib first; one that cannot be imported hinders nobody."""
    code = "import {first}\nimport matplotlib as mpl\nfrom comrl.benchmark.reporting import figures\n"
    code += "print(mpl.get_backend(auto_select=False))"
    for chosen, first in (("svg", "matplotlib"), ("svg", "comrl.benchmark.reporting.figures"),
                          ("no-such-thing", "comrl.benchmark.reporting.figures")):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code.format(first=first)], cwd=ROOT, capture_output=True, text=True,
            env=os.environ | {"MPLBACKEND": chosen},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().lower() == ("svg" if chosen == "svg" else "agg")


def test_help_imports_no_library_that_takes_time() -> None:
    code = "import sys; from comrl.benchmark.commands.cli import parser; parser().format_help();"
    code += "print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"torch", "matplotlib", "mujoco", "gymnasium", "pandas", "numpy", "h5py", "pydantic", "scipy"}
    assert not heavy & set(done.stdout.split())


def test_a_preset_is_a_toml_file_and_nothing_else_that_lies_there() -> None:
    assert all(name.isidentifier() for name in presets())


def test_every_text_file_is_read_in_an_encoding_that_is_named() -> None:
    calls = re.compile(r"read_text\(\)")
    found = [
        path.relative_to(ROOT)
        for home in HOMES
        for path in (ROOT / home).rglob("*.py")
        if calls.search(path.read_text("utf-8"))
    ]
    assert not found
