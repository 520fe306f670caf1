"""What is installed: one top-level name, with all its rooms and data files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEEDED = (
    "comrl/ground/errors.py", "comrl/envs/gym.py", "comrl/datasets/store.py", "comrl/algorithms/focalpp.py",
    "comrl/benchmark/presets/lite.toml", "comrl/benchmark/commands/demo.toml",
    "comrl/benchmark/reporting/figures/style.py", "comrl/benchmark/reporting/paper.toml",
    "comrl/benchmark/reporting/templates/report.html",
)  # fmt: skip


@pytest.mark.slow
def test_the_wheel_has_one_top_level_name_and_imports_beside_another_datasets(tmp_path: Path) -> None:
    copied = shutil.ignore_patterns(".git", ".venv", "results", "data", "*.egg-info", "build")
    shutil.copytree(ROOT, tmp_path / "tree", symlinks=True, ignore=copied)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(tmp_path / "tree")], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"comrl"}
    assert not [name for name in NEEDED if name not in names]
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(site), str(wheel)], check=True)
    (site / "datasets").mkdir()
    (site / "datasets" / "__init__.py").write_text("theirs = True\n")
    code = (
        "import datasets, comrl.envs.gym, comrl.datasets.store; assert datasets.theirs; print(comrl.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
