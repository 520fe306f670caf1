"""A package outside the repository goes through every command and every contract, and no file of ours knows
it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
OUTSIDE = ROOT / "tests" / "outside"
ENV, ALGO, SPLIT = "outside-line", "outside-decoder", "able"
COMMON = f"--env {ENV} --preset smoke"
COMMANDS = f"""
generate-data {COMMON} --threads 1
verify
settings {COMMON}
settings {COMMON} --algo {ALGO}
run {COMMON} --algo {ALGO} focal oracle blind --seeds 0 1 --threads 1
run {COMMON} --algo {ALGO} --seeds 0 --split {SPLIT} relabeled --set task_loss.width=6 --threads 1
test --run results/runs/{ENV}.mixed.smoke.{ALGO}.* --context online --threads 1
list
report
"""
SCRIPT = """
import glob, sys
from comrl.benchmark.commands.cli import main
for line in sys.stdin.read().strip().splitlines():
    words = [found for word in line.split() for found in (glob.glob(word) if "*" in word else [word])]
    print("$", line, flush=True)
    assert main(words) == 0, line
"""


def environment() -> dict[str, str]:
    """With the package installed, as far as Python can tell: its modules and entry points on the path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(OUTSIDE)])}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every command was given once; what they printed lies in `told`."""
    home = tmp_path_factory.mktemp("outside")
    command = [sys.executable, "-W", "error:the plug-in", "-c", SCRIPT]
    done = subprocess.run(
        command, input=COMMANDS, cwd=home, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (home / "told").write_text(done.stdout)
    return home


def run_folder(home: Path, split: str) -> Path:
    (found,) = (home / "results" / "runs").glob(f"{ENV}.{split}.smoke.{ALGO}.*")
    return found


def test_it_is_listed_and_its_settings_have_their_origin(home: Path) -> None:
    told = (home / "told").read_text()
    for name in (ENV, ALGO, SPLIT):
        assert f" {name} " in told or f"\n{name} " in told
    origins = {line.split()[0]: line for line in told.splitlines() if line.strip()}
    assert "outside-line itself" in origins["training.discount"]
    assert "outside-line itself" in origins["encoder.latent"]
    assert "outside-line itself" in origins["behaviour.control.width"]
    assert "outside-decoder itself" in origins["task_loss.width"]


def test_its_runs_are_trained_by_its_values_and_tested_in_every_way(home: Path) -> None:
    card = json.loads((run_folder(home, "mixed") / "run.json").read_text())
    assert (card["training"]["discount"], card["training"]["meta_batch"]) == (0.5, 3)
    task_loss = card["algorithm"]["task_loss"]
    assert (task_loss["part"], task_loss["width"], task_loss["lr"]) == ("RewardDecoder", 8, 0.001)
    assert "online.csv" in card["files"]
    curves = pd.read_csv(run_folder(home, "mixed") / "curves.csv")
    assert curves["loss_decoder"].dropna().gt(0).all() and "reward_error" in curves
    other = json.loads((run_folder(home, SPLIT) / "run.json").read_text())
    assert other["algorithm"]["task_loss"]["width"] == 6


def test_its_table_is_in_the_report(home: Path) -> None:
    table = pd.read_csv(home / "results" / "report" / "tables" / "reward-errors.csv")
    assert len(table) == 3 and table["error"].gt(0).all()
    assert "Reward errors" in (home / "results" / "report" / "index.html").read_text()


def test_it_keeps_the_contracts_of_everything_declared() -> None:
    """The tests that go over all that is declared pass for what the package adds."""
    files = [
        f"tests/test_{name}.py" for name in ("envs", "algorithms", "learner", "stack", "gym", "protocol")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-k", f"{ENV} or {ALGO}", *files]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    (passed,) = re.findall(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert int(passed) >= 20, done.stdout[-500:]
