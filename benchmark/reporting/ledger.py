"""The ledger: results written once with their birth certificate, read back whole, never mixed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from comrl.benchmark.reporting.formats import Arrays, csv_bytes, csv_table, npz_arrays, npz_bytes
from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput
from comrl.ground.files import write_folder_whole
from comrl.ground.hashing import difference, sha256

FORMAT = 1
ONLINE = "online.csv"
FROM_PRIOR, EPISODES = 2, 5  # of an online trial: two explore, the last three, with the task inferred, score
WEIGHTS = "weights.pt"
HASH = "weights_sha256"
"""The key of the weights' hash in a run's card."""
AGAIN = "give the command that made it again"
APART = "train one of them again or keep it in another --results folder"


@dataclass(frozen=True)
class Run:
    """One algorithm trained on one split of one environment, all its seeds."""

    path: Path
    info: dict[str, Any]
    curves: pd.DataFrame
    returns: pd.DataFrame
    probe: Arrays
    online: pd.DataFrame | None = None
    """Every episode of the test on self-collected contexts, where it was asked for."""

    @property
    def spec(self) -> dict[str, Any]:
        """What was asked for: env, split, preset, algo, seeds, overrides."""
        return self.info["spec"]

    @property
    def env(self) -> str:
        """The environment's name."""
        return self.spec["env"]

    @property
    def split(self) -> str:
        """The split that it was trained on."""
        return self.spec["split"]

    @property
    def algo(self) -> str:
        """The algorithm's name."""
        return self.spec["algo"]

    @property
    def role(self) -> str:
        """What it is in a table: `method`, or the `upper` or `lower` yardstick."""
        return self.info["role"]

    @property
    def scores(self) -> dict[str, str]:
        """Label of every score by name; the first is the headline."""
        return dict(self.info["scores"])

    @property
    def headline(self) -> str:
        """The name of the score that the headline table shows."""
        return next(iter(self.scores))

    @property
    def label(self) -> str:
        """The algorithm's name in print, with the overrides that make it another algorithm."""
        own = [f"{key}={value}" for key, value in self._overrides() if not self._is_training(key)]
        return self.info["label"] + (f" [{', '.join(own)}]" if own else "")

    @property
    def protocol(self) -> str:
        """The preset, with the overrides that change its training numbers."""
        changed = [f"{key}={value}" for key, value in self._overrides() if self._is_training(key)]
        return ",".join([self.spec["preset"], *changed])

    def _overrides(self) -> list[tuple[str, Any]]:
        return sorted(self.spec.get("overrides", {}).items())

    def _is_training(self, key: str) -> bool:
        return key.removeprefix("training.") in self.info["training"]


@dataclass(frozen=True)
class Portrait:
    """What a data set looks like: returns, learning curves, states; small enough to keep with results."""

    path: Path
    info: dict[str, Any]
    arrays: Arrays

    @property
    def env(self) -> str:
        """The environment's name."""
        return self.info["env"]

    @property
    def scores(self) -> dict[str, str]:
        """Label of every score by name; the first is the headline."""
        return dict(self.info["scores"])

    def splits(self, score: str) -> list[str]:
        """The splits whose episodes were scored so."""
        names = [name.removeprefix("return_") for name in self.arrays if name.startswith("return_")]
        return [name.removesuffix(f"_{score}") for name in names if name.endswith(f"_{score}")]


@dataclass(frozen=True)
class Ledger:
    """Runs and portraits of data sets, in the order of their folders."""

    runs: tuple[Run, ...]
    portraits: tuple[Portrait, ...]

    @cached_property
    def protocols(self) -> tuple[str, ...]:
        """Every protocol that some run followed, by name."""
        return tuple(sorted({run.protocol for run in self.runs}))

    def select(self, preset: str | None = None) -> Ledger:
        """The runs of one protocol and their data sets; BadInput where that mixes what must not mix."""
        if preset is not None and preset not in self.protocols:
            raise BadInput(f"no run follows preset {preset!r}; {suggestion(preset, self.protocols)}")
        if preset is None and len(self.protocols) > 1:
            raise BadInput(
                f"these results follow {len(self.protocols)} presets ({' and '.join(self.protocols)}), "
                f"and no table mixes two; choose one with --preset {self.protocols[0]}"
            )
        runs = tuple(run for run in self.runs if preset in (None, run.protocol))
        _refuse_mixed(runs)
        used = {run.info["data_sha256"] for run in runs}
        known = {run.env for run in runs}
        portraits = tuple(p for p in self.portraits if p.info["sha256"] in used or p.env not in known)
        return Ledger(runs, portraits)


def _refuse_mixed(runs: Iterable[Run]) -> None:
    """BadInput where two runs of one environment differ in training numbers, data or test tasks.

    A number that one of them does not know is a newer one, of which it had no use.
    """
    first: dict[tuple[str, str], Run] = {}
    for run in runs:
        other = first.setdefault((run.env, run.split), run)
        mine, theirs = run.info["training"], other.info["training"]
        for key in sorted(mine.keys() & theirs.keys()):
            if mine[key] != theirs[key]:
                raise BadInput(
                    f"{other.path.name} and {run.path.name} were trained with different {key} "
                    f"({theirs[key]} and {mine[key]}) under one preset; {APART}"
                )
        what = _part_difference(other.info.get("preset_parts", {}), run.info.get("preset_parts", {}))
        if what:
            raise BadInput(
                f"{other.path.name} and {run.path.name} were trained under one preset's name with different "
                f"settings of a part ({what}); {APART}"
            )
        other = first.setdefault((run.env, ""), run)
        if run.info["data_sha256"] != other.info["data_sha256"]:
            raise BadInput(
                f"{other.path.name} and {run.path.name} were trained on different data sets; {APART}"
            )


def _part_difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Where two presets disagree on a part that both know; nothing where they agree."""
    both = sorted(mine.keys() & theirs.keys())
    return difference({name: mine[name] for name in both}, {name: theirs[name] for name in both})


def run_name(info: Mapping[str, Any]) -> str:
    """The folder of a run: <env>.<split>.<preset>.<algo>.<id8>."""
    spec = info["spec"]
    return f"{spec['env']}.{spec['split']}.{spec['preset']}.{spec['algo']}.{info['id']}"


def portrait_name(info: Mapping[str, Any]) -> str:
    """The folder of a data set's portrait: <env>.<sha8>."""
    return f"{info['env']}.{info['sha256'][:8]}"


def write_run(
    results: Path,
    info: Mapping[str, Any],
    curves: pd.DataFrame,
    returns: pd.DataFrame,
    probe: Mapping[str, NDArray[Any]],
    online: pd.DataFrame | None = None,
    weights: bytes | None = None,
) -> Path:
    """Keep a run, whole or not at all; the same run writes the same bytes."""
    files: dict[str, bytes] = {"curves.csv": csv_bytes(curves), "returns.csv": csv_bytes(returns)}
    if online is not None:
        files[ONLINE] = csv_bytes(online)
    if probe:
        files["probe.npz"] = npz_bytes(probe)
    if weights is not None:
        info = {**info, HASH: sha256(weights)}
    return _write(results / "runs" / run_name(info), "run.json", info, files, weights)


def read_card(folder: Path) -> dict[str, Any]:
    """The card of one run, compared with its hashes."""
    return _read(folder, "run.json", run_name)[0]


def add_test(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Keep another test of a run's policies beside the others: the folder is written anew, whole."""
    info, files = _read(folder, "run.json", run_name)
    weights = folder / WEIGHTS
    files[name] = csv_bytes(table)
    _write(folder, "run.json", info, files, weights.read_bytes() if weights.exists() else None)


def write_portrait(results: Path, info: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Keep a data set's portrait, whole or not at all."""
    folder = results / "datasets" / portrait_name(info)
    return _write(folder, "portrait.json", info, {"portrait.npz": npz_bytes(arrays)})


def read_ledger(results: Path) -> Ledger:
    """Every run and portrait under a results folder; BadInput names what is unreadable or altered."""
    runs = merge_seeds(_read_run(path) for path in _folders(results / "runs"))
    portraits = tuple(_read_portrait(path) for path in _folders(results / "datasets"))
    if not runs and not portraits:
        raise BadInput(f"{results}: no results yet; make some with `bench run`")
    return Ledger(runs, portraits)


def merge_seeds(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Runs of one experiment whose seeds were trained at different times, as the one run that they are."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.info.get("settings_id", run.path.name), []).append(run)
    return tuple(group[0] if len(group) == 1 else _merged(group) for group in groups.values())


def _merged(group: list[Run]) -> Run:
    seeds = [seed for run in group for seed in run.spec["seeds"]]
    if len(set(seeds)) < len(seeds):
        names = " and ".join(run.path.name for run in group)
        raise BadInput(f"{names} hold the same seed; delete one of these folders")
    first = group[0].info
    spent = {key: sum(run.info["cost"][key] for run in group) for key in first["cost"] if "seconds" in key}
    info = {**first, "spec": {**first["spec"], "seeds": seeds}, "cost": {**first["cost"], **spent}}
    shared = {"sparsity_ratio"}  # every other array has the seeds in front
    probe = {
        name: values if name in shared else np.concatenate([run.probe[name] for run in group])
        for name, values in group[0].probe.items()
    }
    frames = ([run.curves for run in group], [run.returns for run in group])
    curves, returns = (pd.concat(frame, ignore_index=True) for frame in frames)
    tried = [run.online for run in group if run.online is not None]
    online = pd.concat(tried, ignore_index=True) if tried else None
    return Run(group[0].path, info, curves, returns, probe, online)


def read_cards(results: Path) -> list[dict[str, Any]]:
    """The birth certificate of every run under a results folder, each compared with its hashes."""
    return [_read(path, "run.json", run_name)[0] for path in _folders(results / "runs")]


def _folders(parent: Path) -> list[Path]:
    """Folders that were written whole: a name that starts with a dot is one that was not."""
    return sorted(p for p in parent.glob("*") if p.is_dir() and not p.name.startswith("."))


def _read_run(path: Path) -> Run:
    info, files = _read(path, "run.json", run_name)
    try:
        curves, returns = csv_table(files["curves.csv"]), csv_table(files["returns.csv"])
        probe = npz_arrays(files["probe.npz"]) if "probe.npz" in files else {}
        online = csv_table(files[ONLINE]) if ONLINE in files else None
        return Run(path, info, curves, returns, probe, online)
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _read_portrait(path: Path) -> Portrait:
    info, files = _read(path, "portrait.json", portrait_name)
    try:
        return Portrait(path, info, npz_arrays(files["portrait.npz"]))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _write(
    folder: Path, card: str, info: Mapping[str, Any], files: Mapping[str, bytes], weights: bytes | None = None
) -> Path:
    """A folder of files and the card that says what they are and what they hash to, itself included.

    Weights have a hash of their own in the card and may be missing later: a report needs none.
    """
    extra = {} if weights is None else {WEIGHTS: weights}
    body = {**info, "format": FORMAT, "files": {name: sha256(files[name]) for name in sorted(files)}}
    body["sha256_of_card"] = _card_hash(body)
    text = json.dumps(body, indent=1, allow_nan=False) + "\n"
    with write_folder_whole(folder) as part:
        for name, content in {**files, **extra, card: text.encode()}.items():
            (part / name).write_bytes(content)
    return folder


def _read(path: Path, card: str, name_of: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The card and the bytes of its files, each compared with its hash."""
    try:
        info = json.loads((path / card).read_bytes())
        if info["format"] > FORMAT:
            newer = f"format {info['format']}, this code reads {FORMAT}"
            raise BadInput(f"{path / card}: {newer}; update comrl-bench")
        files = {name: (path / name).read_bytes() for name in info["files"]}
        whole = info["sha256_of_card"] == _card_hash(info) and name_of(info) == path.name
        altered = [name for name in files if sha256(files[name]) != info["files"][name]]
    except BadInput:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error
    for name in altered if whole else [card]:
        raise BadInput(f"{path / name}: altered since it was written; delete its folder and {AGAIN}")
    return info, files


def _unreadable(path: Path, error: Exception) -> BadInput:
    why = f"{type(error).__name__}: {error}"
    return BadInput(f"{path}: unreadable ({why}); delete the folder and {AGAIN}")


def _card_hash(info: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in info.items() if key != "sha256_of_card"}
    return sha256(json.dumps(rest, sort_keys=True).encode())
