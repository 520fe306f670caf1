"""A command in pieces: each is the command for one environment, split, algorithm and seed."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.logged import FAMILY, all_tasks, put

from comrl.benchmark.commands.cli import main, parser
from comrl.benchmark.reporting.ledger import read_ledger

ROOT = Path(__file__).parent.parent
WORDS = (
    "run --preset smoke --seed 4 7 --algo=blind --algo oracle blind --env sparse-point-robot point-robot-wind"
)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["jobs", *words]) == 0
    return capsys.readouterr().out


def test_each_piece_is_the_command_for_one_of_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(WORDS)
    rest = [
        "--set",
        "steps=20",
        "eval_every=10",
        "--threads",
        "1",
        "--results",
        str(tmp_path / "a b"),
        "--jobs",
        "2",
        "--engine=ray",
    ]
    lines = printed(capsys, *words, *rest).splitlines()
    found = []
    for line in lines:
        python, module, name, *own = shlex.split(line)
        assert (python, module, name) == (sys.executable, "-m", "comrl.benchmark.commands.cli")
        piece = parser().parse_args(own)
        assert piece.set == ["steps=20", "eval_every=10"] and piece.threads == 1 and piece.jobs is None
        assert piece.results == tmp_path / "a b" and piece.data.is_absolute() and piece.preset == "smoke"
        assert piece.engine == "local"
        found.append((*piece.env, *piece.split, *piece.algo, *piece.seeds))
    envs = ("sparse-point-robot", "point-robot-wind")
    assert found == list(itertools.product(envs, ["mixed"], ["oracle", "blind"], [4, 7]))
    data = printed(
        capsys, "generate-data", "--env", *envs, "--set", "behaviour.steps=500", "--preset", "smoke"
    )
    assert [parser().parse_args(shlex.split(line)[3:]).env for line in data.splitlines()] == [
        [env] for env in envs
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_task_of_the_array_runs_its_piece(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "my data", all_tasks("expert", "medium", "random"))
    places = ["--data", str(tmp_path / "my data"), "--results", str(tmp_path / "results")]
    asked = ["--env", FAMILY.name, "--algo", "oracle", "blind", "--seeds", "2", "5", "--preset", "smoke"]
    options = "--slurm --sbatch time=1:00:00 --sbatch exclusive --at-once 2 --sbatch mem=8G"
    script = printed(capsys, *options.split(), "run", *asked, *places, "--threads", "1")
    told = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", script, re.MULTILINE))
    assert told["array"] == "0-3%2" and told["time"] == "1:00:00" and told["mem"] == "8G"
    assert told["exclusive"] == told["requeue"] == ""
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    (tmp_path / "job.sh").write_text(script)
    surroundings = {**os.environ, "SLURM_ARRAY_TASK_ID": "3", "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", str(tmp_path / "job.sh")], env=surroundings, cwd=tmp_path, check=True)
    (run,) = read_ledger(tmp_path / "results").runs
    assert run.card.spec.algo == "blind" and run.card.spec.seeds == (5,)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--slurm", "name what is to be spread"),
        ("--slurm report", "name what is to be spread"),
        ("--sbatch time=1 run --algo focal --env sparse-point-robot", "give --slurm too"),
        ("--slurm --at-once 0 run --algo focal --env sparse-point-robot", "must be at least 1"),
        ("--slurm run --algo focla --env sparse-point-robot", "did you mean 'focal'"),
        ("--slurm run --algo focal --env sparse-point-robt", "did you mean 'sparse-point-robot'"),
        ("--slurm run --algo focal --env point-robot-wind --split relabeled", "split of point-robot-wind"),
        ("--slurm run --algo focal --env sparse-point-robot --set stps=3", "no setting 'stps'"),
        ("--slurm generate-data --env sparse-point-robot --preset lit", "did you mean 'lite'"),
        (
            f"--slurm run --algo focal --env sparse-point-robot --seeds {' '.join(map(str, range(1001)))}",
            "1001 pieces",
        ),
    ],
)
def test_what_cannot_be_spread_is_a_sentence(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", *words.split()]) == 2
    told = capsys.readouterr()
    assert sentence in told.err and not told.out
