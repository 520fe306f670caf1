"""What a machine has, what a preset needs of it, and what that would cost in time."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from comrl.benchmark.generation.generate import PACKAGES, disk_bytes
from comrl.benchmark.protocol import data_preset, resolve
from comrl.benchmark.provenance import code_revision
from comrl.benchmark.reporting.drawing import draw_films
from comrl.benchmark.reporting.ledger import Ledger, read_ledger
from comrl.envs.family import TaskFamily, families
from comrl.ground.errors import BadInput
from comrl.ground.files import claimed, existing
from comrl.ground.machine import cores

EXTRAS = ("minari", "ray", "tensorboard")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
MEMORY = Path("/proc/meminfo")
ROOM = 1.1  # of what is needed
RECKONING = (
    "disk: the data of all tasks and qualities.  memory: this process as it is, and the data twice; what "
    "an update takes is not in it.\n"
    "minutes: where this results folder has such data or runs, what those took.  Elsewhere what the "
    "committed reference took, times the rate of matrix products there over that here: data by all threads; "
    "a seed of a run by one thread, as many runs side by side (--jobs) as there are threads.  Simulation and "
    "small products do not follow that rate, so take it for an order of magnitude.  `bench speed` measures."
)


class Need(NamedTuple):
    """What one environment takes at a preset."""

    env: str
    disk: int
    memory: int
    """Bytes."""
    data: float | None
    """Seconds; None where nobody knows."""
    runs: dict[str, float]
    """Seconds of one seed, by algorithm."""
    source: str

    def row(self) -> dict[str, str]:
        """A line of the table."""
        known = sorted(self.runs.items(), key=lambda one: one[1])
        ends = [known[0], known[-1]] if len(known) > 1 else known
        return {
            "environment": self.env,
            "disk, MB": f"{self.disk / 1e6:.0f}",
            "memory, MB": f"{self.memory / 1e6:.0f}",
            "data, min": "unknown" if self.data is None else f"{self.data / 60:.1f}",
            "a seed, min": " to ".join(f"{took / 60:.1f} ({name})" for name, took in ends) or "unknown",
            "reckoned from": self.source,
        }


# --- what there is


def surroundings(data: Path, results: Path, device: torch.device, rate: float) -> Iterator[tuple[str, str]]:
    """Versions, device, cores, memory, disk, locks and drawing, a line each."""
    yield "comrl-bench", f"{_version('comrl-bench')}, code {code_revision()}"
    yield "python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    yield "packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield "extras", ", ".join(f"{name} {_version(name)}" for name in EXTRAS)
    yield "device", _device(device)
    yield "matrix products", f"{rate:.1f} GFLOP/s in fp32"
    yield "cores", f"{cores()} usable of {os.cpu_count()}; {torch.get_num_threads()} threads asked for"
    free, total = memory()
    yield "memory", f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"
    for name, folder in (("data", data), ("results", results)):
        yield f"disk of {name}", f"{_free(folder) / 1e9:.1f} GB free at {existing(folder)}"
        yield f"locks of {name}", locks(folder)
    yield "drawing", drawing()


def memory() -> tuple[int, int]:
    """Free and total bytes, within the limit of a container where there is one."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = total
    if MEMORY.exists():
        lines = dict(line.split(":", 1) for line in MEMORY.read_text("utf-8").splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    if MEMORY_LIMIT.exists() and (limit := MEMORY_LIMIT.read_text("utf-8").strip()).isdigit():
        free, total = min(free, int(limit)), min(total, int(limit))
    return free, total


def locks(folder: Path) -> str:
    """Whether a folder's file system has the locks by which commands keep out of each other's way."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with claimed(existing(folder) / f".bench-doctor-{os.getpid()}.lock"):
                pass
        except BadInput as error:
            return str(error)
    return str(said[0].message) if said else "work"


def drawing() -> str:
    """Whether bodies can be drawn: one picture, in a process of its own."""
    family = next(family for family in families() if family.film is not None)
    try:
        draw_films({family.name: np.zeros((1, family.obs_dim), dtype=np.float32)})
    except OSError as error:
        return (
            f"not here ({error}): set MUJOCO_GL to egl or osmesa and install that; reports lack films alone"
        )
    return f"works (MUJOCO_GL={os.environ.get('MUJOCO_GL', 'not set')})"


def _device(device: torch.device) -> str:
    if device.type != "cuda":
        return f"{device}; CUDA is {'there too' if torch.cuda.is_available() else 'not there'}"
    free, total = torch.cuda.mem_get_info(device)
    return f"{device}: {torch.cuda.get_device_name(device)}, {free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _free(folder: Path) -> int:
    return shutil.disk_usage(existing(folder)).free


# --- what is needed


def needs(
    chosen: Sequence[TaskFamily], preset: str, results: Path, device: torch.device, rate: float
) -> list[Need]:
    """What each environment takes at a preset on this machine."""
    known = tomllib.loads(files("comrl.benchmark.commands").joinpath("costs.toml").read_text("utf-8"))
    own = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
    ledger, found = _ledger(results), []
    for family in chosen:
        size = disk_bytes(family, resolve(preset, family.name))
        data, runs, source = _reckoned(known, family.name, preset, device, rate)
        took, mine = _seen(ledger, family.name, preset)
        if took is not None or mine:
            source = "this results folder" if not source else f"{source}; this results folder"
        data = data if took is None else took
        found.append(Need(family.name, size, own + 2 * size, data, runs | mine, source))
    return found


def _reckoned(
    known: dict[str, Any], env: str, preset: str, device: torch.device, rate: float
) -> tuple[float | None, dict[str, float], str]:
    """Seconds of the data and of a seed by algorithm, from the reference; its rate is that of a CPU."""
    table = known.get(preset, {}).get(env)
    if table is None or device.type != "cpu":
        return None, {}, ""
    slower = known["rate"] / rate
    each = slower / known["threads"] * torch.get_num_threads()
    runs = {name: each * seconds for name, seconds in table["runs"].items()}
    return slower * table["data"], runs, f"the reference, times {slower:.2f} (data) and {each:.2f} (runs)"


def _ledger(results: Path) -> Ledger:
    """What was run here; nothing where it cannot be read."""
    try:
        return read_ledger(results)
    except BadInput:
        return Ledger((), ())


def _seen(ledger: Ledger, env: str, preset: str) -> tuple[float | None, dict[str, float]]:
    """Seconds of the data and of a seed by algorithm, as this ledger has them."""
    made = (env, data_preset(preset, env))
    data = [each.card for each in ledger.portraits if (each.env, each.card.preset) == made]
    cards = [run.card for run in ledger.runs if (run.card.spec.env, run.card.spec.preset) == (env, preset)]
    runs = {
        card.spec.algo: (card.cost.train_seconds + card.cost.before_seconds) / len(card.spec.seeds)
        for card in cards
        if not card.spec.overrides
    }
    return (data[-1].generation_seconds if data else None), runs


def problems(data: Path, results: Path, wanted: Sequence[Need]) -> list[str]:
    """A sentence for each thing that is missing."""
    disk, most = sum(need.disk for need in wanted), max(need.memory for need in wanted)
    found = []
    if (free := _free(data)) < ROOM * disk:
        found.append(
            f"{existing(data)} has {free / 1e6:.0f} MB free and the data take {disk / 1e6:.0f}; name another "
            "disk with --data, or fewer environments with --env"
        )
    if (free := memory()[0]) < ROOM * most:
        found.append(
            f"{free / 1e6:.0f} MB of memory are free and {most / 1e6:.0f} are needed; end other programs, or "
            "choose a smaller preset"
        )
    return found + [
        f"{existing(folder)} cannot be written to; name another folder with {option}"
        for option, folder in (("--data", data), ("--results", results))
        if not os.access(existing(folder), os.W_OK)
    ]
