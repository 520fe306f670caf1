"""A small data set, a run on it, and ways to make each file and folder of them unreadable."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.run import run
from comrl.envs import find_family
from support.data import put_data_set

ENV = "sparse-point-robot"
SPEC = RunSpec(env=ENV, split="mixed", preset="smoke", algo="blind", seeds=(0,), overrides={})
FILES = (
    f"data/{ENV}/manifest.json",
    f"data/{ENV}/task-000.hdf5",
    f"data/{ENV}/cost.json",
    "results/runs/RUN/run.json",
    "results/runs/RUN/returns.csv",
    "results/runs/RUN/weights.pt",
    "results/datasets/PORTRAIT/portrait.json",
)
FOLDERS = (f"data/{ENV}", "results/runs/RUN", "results/runs", "results/datasets", "data", "results")


def readers(name: str) -> list[str]:
    """The commands that look at a place."""
    if name.startswith("data"):
        return ["list", "verify", "run", "test", "generate-data"]
    return ["list", "run", "test"] + (["report"] if "weights" not in name else [])


def build(root: Path) -> None:
    """The data set and the run."""
    put_data_set(root / "data", find_family(ENV))
    run(SPEC, root / "data", root / "results", torch.device("cpu"))


def place(root: Path, name: str) -> Path:
    """A file or folder by its name above."""
    for word, parent in (("RUN", root / "results" / "runs"), ("PORTRAIT", root / "results" / "datasets")):
        if word in name:
            name = name.replace(word, next(parent.iterdir()).name)
    return root / name


def words(command: str, root: Path) -> list[str]:
    """The command line that has a command read what it reads."""
    data, results = ["--data", str(root / "data")], ["--results", str(root / "results")]
    runs = root / "results" / "runs"
    named = [str(path) for path in runs.glob("*") if command == "test"]
    asked = ["--env", ENV, "--preset", "smoke", "--threads", "1"]
    return {
        "list": ["list", *data, *results],
        "verify": ["verify", *data],
        "run": ["run", *asked, "--algo", SPEC.algo, "--seeds", "0", *data, *results],
        "test": ["test", "--run", *named, "--context", "offline", *data],
        "report": ["report", *results, "--out", str(root / "report")],
        "generate-data": ["generate-data", *asked, *data],
    }[command]


def put_aside(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}.aside"))


def as_whole_again(path: Path) -> None:
    """What was spoiled, as it was."""
    if os.path.isdir(path) and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()
    path.with_name(f".{path.name}.aside").rename(path)


def as_folder(path: Path) -> None:
    """EISDIR."""
    put_aside(path)
    path.mkdir()


def as_loop(path: Path) -> None:
    """ELOOP."""
    put_aside(path)
    path.symlink_to(path.name)


def as_long_name(path: Path) -> None:
    """ENAMETOOLONG."""
    put_aside(path)
    path.symlink_to("x" * 300)


SPOILERS: dict[str, Callable[[Path], None]] = {
    "directory": as_folder,
    "symbolic links": as_loop,
    "name too long": as_long_name,
}


def forbid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EACCES for a file or folder and all below it, for whoever asks: root would be let in."""
    for owner, name in ((io, "open"), (os, "open"), (os, "stat"), (os, "listdir"), (os, "scandir")):
        real = getattr(owner, name)

        def guarded(where: Any = ".", *rest: Any, real: Any = real, name: str = name, **more: Any) -> Any:
            if isinstance(where, (str, os.PathLike)):
                inside = Path(where).is_relative_to(path) and (name != "stat" or Path(where) != path)
                if inside:
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(where))
            return real(where, *rest, **more)

        monkeypatch.setattr(owner, name, guarded)
