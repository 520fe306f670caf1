"""The ledger: results written once with their card, read back whole, never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from comrl.benchmark.reporting.cards import PortraitCard, ResultCard, RunCard
from comrl.benchmark.reporting.folders import WEIGHTS, altered, read_files, unreadable, write_files
from comrl.benchmark.reporting.formats import Arrays, csv_bytes, csv_table, npz_arrays, npz_bytes
from comrl.benchmark.reporting.runs import Run as Run
from comrl.benchmark.reporting.runs import merge_seeds as merge_seeds
from comrl.benchmark.spec import PRIOR
from comrl.ground.cards import Tree
from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput
from comrl.ground.files import LOCK, claimed
from comrl.ground.hashing import difference, sha256
from comrl.ground.reading import content_of, folders_in

CURVES = "curves.csv"
RETURNS = "returns.csv"
ONLINE = "online.csv"
SHIFTED = "shifted.csv"
COARSE = ("z", "gate_weight")  # of the probe, half of a ledger: variances, ranks and pictures need no more
FROM_PRIOR, EPISODES = 2, 5  # of an online trial: two explore, the last three, with the task inferred, score
APART = "train one of them again or keep it in another --results folder"
AnyCard = TypeVar("AnyCard", bound=ResultCard)


@dataclass(frozen=True, eq=False)
class Portrait:
    """What a data set looks like: returns, learning curves, states; small enough to keep with results."""

    path: Path
    card: PortraitCard
    arrays: Arrays

    @property
    def env(self) -> str:
        """The environment's name."""
        return self.card.env

    @property
    def scores(self) -> dict[str, str]:
        """Label of every score by name; the first is the headline."""
        return dict(self.card.scores)

    def splits(self, score: str) -> list[str]:
        """The splits whose episodes were scored so."""
        names = [name.removeprefix("return_") for name in self.arrays if name.startswith("return_")]
        return [name.removesuffix(f"_{score}") for name in names if name.endswith(f"_{score}")]


@dataclass(frozen=True, eq=False)
class Ledger:
    """Runs and portraits of data sets, in the order of their folders; equal to itself alone."""

    runs: tuple[Run, ...]
    portraits: tuple[Portrait, ...]

    @cached_property
    def protocols(self) -> tuple[str, ...]:
        """Every protocol that some run followed, by name."""
        return tuple(sorted({run.protocol for run in self.runs}))

    @property
    def own(self) -> Ledger:
        """Without the runs of packs."""
        return Ledger(tuple(run for run in self.runs if not run.origin), self.portraits)

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
        _refuse_other_parts(runs)
        used = {run.card.data_sha256 for run in runs}
        known = {run.env for run in runs}
        portraits = tuple(p for p in self.portraits if p.card.sha256 in used or p.env not in known)
        return Ledger(runs, portraits)


def _refuse_mixed(runs: Iterable[Run]) -> None:
    """BadInput where runs of one environment differ in training numbers or data, or algorithms share a label.

    A number is compared with the first run that knows it: one that does not had no use for it.
    """
    known: dict[tuple[str, ...], Run] = {}
    for run in runs:
        for key, value in sorted(run.card.training.items()):
            other = known.setdefault(("number", run.env, run.split, key), run)
            there = other.card.training[key]
            if value != there:
                raise _mixed(other, run, f"with different {key} ({there} and {value}) under one preset")
        for name, part in sorted(run.card.preset_parts.items()):
            other = known.setdefault(("part", run.env, run.split, name), run)
            if what := difference(other.card.preset_parts[name], part, name):
                how = f"under one preset's name with different settings of a part ({what})"
                raise _mixed(other, run, how)
        other = known.setdefault(("data", run.env), run)
        if run.card.data_sha256 != other.card.data_sha256:
            raise _mixed(other, run, "on different data sets")
        other = known.setdefault(("label", run.label), run)
        if (run.algo, run.origin) != (other.algo, other.origin):
            raise BadInput(
                f"{other.path.name} and {run.path.name} are of two algorithms with one label, {run.label!r}; "
                "give one of them another label and train it again, or keep it in another --results folder"
            )


def _mixed(other: Run, run: Run, how: str) -> BadInput:
    """The error of two runs that no table may mix."""
    return BadInput(f"{other.path.name} and {run.path.name} were trained {how}; {APART}")


def _refuse_other_parts(runs: Iterable[Run]) -> None:
    """BadInput where seeds of one entry have different parts; a setting that one lacks is newer."""
    first: dict[tuple[str, ...], Run] = {}
    for run in runs:
        other = first.setdefault((run.env, run.split, run.algo, run.origin, run.label), run)
        mine, theirs = run.card.algorithm, other.card.algorithm
        if what := difference(in_common(theirs, mine), in_common(mine, theirs)):
            raise BadInput(
                f"{other.path.name} and {run.path.name} would be seeds of one {run.label} whose parts differ "
                f"({what}); move the older of these folders away, or keep it in another --results folder"
            )


def in_common(mine: Tree, theirs: Tree) -> Tree:
    """Of a tree of parts, what the other has too: a setting that one lacks is another version's."""
    found: Tree = {}
    for name in mine.keys() & theirs.keys():
        own, other = mine[name], theirs[name]
        found[name] = in_common(own, other) if isinstance(own, dict) and isinstance(other, dict) else own
    return found


def write_run(
    results: Path,
    card: RunCard,
    curves: pd.DataFrame,
    returns: pd.DataFrame,
    probe: Mapping[str, NDArray[np.generic]],
    explored: Mapping[str, pd.DataFrame] | None = None,
    weights: bytes | None = None,
) -> Path:
    """Keep a run, whole or not at all; the same run writes the same bytes.

    explored: the tests on self-collected contexts, by the name of the exploration.
    """
    files: dict[str, bytes] = {CURVES: csv_bytes(curves), RETURNS: csv_bytes(returns)}
    files |= {explored_file(name): csv_bytes(table) for name, table in (explored or {}).items()}
    if probe:
        files["probe.npz"] = npz_bytes(probe, COARSE)
    if weights is not None:
        card = card.model_copy(update={"weights_sha256": sha256(weights)})
    return write_files(results / "runs" / card.name, card.FILE, card.to_json(), files, weights)


def explored_file(exploration: str) -> str:
    """The file of a test on self-collected contexts; the first rule's has the name from before the others."""
    return ONLINE if exploration == PRIOR else f"online.{exploration}.csv"


def explored_tables(files: Mapping[str, bytes]) -> dict[str, pd.DataFrame]:
    """Those tests among a run's files, by the name of the exploration, the prior's first."""
    own = [name for name in files if name.startswith("online.") and name != ONLINE]
    named = sorted(name.removeprefix("online.").removesuffix(".csv") for name in own)
    names = [PRIOR, *named] if ONLINE in files else named
    return {name: csv_table(files[explored_file(name)]) for name in names}


def read_card(folder: Path) -> RunCard:
    """The card of one run, compared with its hashes."""
    return _read(folder, RunCard)[0]


def read_portrait_card(folder: Path) -> PortraitCard:
    """The card of one data set's portrait, compared with its hashes."""
    return _read(folder, PortraitCard)[0]


def add_test(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Keep another test of a run's policies beside the others: the folder is written anew, whole.

    Processes that test one run at once wait for each other, so that none forgets another's test.
    """
    with claimed(folder.with_name(f".{folder.name}{LOCK}"), wait=True):
        body, files = read_files(folder, RunCard.FILE)
        files[name] = csv_bytes(table)
        write_files(folder, RunCard.FILE, body, files, content_of(folder / WEIGHTS))


def write_portrait(results: Path, card: PortraitCard, arrays: Mapping[str, NDArray[np.generic]]) -> Path:
    """Keep a data set's portrait, whole or not at all."""
    folder = results / "datasets" / card.name
    return write_files(folder, card.FILE, card.to_json(), {"portrait.npz": npz_bytes(arrays)})


def read_ledger(results: Path) -> Ledger:
    """Every run and portrait under a results folder; BadInput names what is unreadable or altered."""
    runs = merge_seeds(read_run(path) for path in folders_in(results / "runs"))
    portraits = tuple(_read_portrait(path) for path in folders_in(results / "datasets"))
    if not runs and not portraits:
        raise BadInput(f"{results}: no results yet; make some with `bench run`")
    return Ledger(runs, portraits)


def read_cards(results: Path) -> list[RunCard]:
    """The card of every run under a results folder, each compared with its hashes."""
    return [read_card(path) for path in folders_in(results / "runs")]


def read_run(path: Path) -> Run:
    """One folder of results, compared with its hashes."""
    card, files = _read(path, RunCard)
    try:
        curves, returns = csv_table(files[CURVES]), csv_table(files[RETURNS])
        probe = npz_arrays(files["probe.npz"]) if "probe.npz" in files else {}
        shifted = csv_table(files[SHIFTED]) if SHIFTED in files else None
        _require_whole(card, curves, returns)
        return Run(path, card, curves, returns, probe, explored_tables(files), shifted)
    except (KeyError, ValueError) as error:
        raise unreadable(path, error) from error


def _require_whole(card: RunCard, curves: pd.DataFrame, returns: pd.DataFrame) -> None:
    """ValueError where a table lacks a column, or the last test a seed, a test task or the training split."""
    scores = [name for name, _ in card.scores]
    if not scores:
        raise ValueError("the card names no score")
    known = {CURVES: (curves, {"seed", "step"}), RETURNS: (returns, {"seed", "context", "task", "episode"})}
    for file, (table, columns) in known.items():
        if lacking := sorted({*columns, *scores} - {*table}):
            raise ValueError(f"{file} has no column {lacking[0]}")
        table[scores].astype(float)
    asked = set(product(card.spec.seeds, card.task_set.test))
    tests = returns[["context", "seed", "task"]].drop_duplicates().groupby("context")
    there = {context: set(zip(own["seed"], own["task"], strict=True)) for context, own in tests}
    if card.spec.split not in there or any(pairs != asked for pairs in there.values()):
        raise ValueError(f"{RETURNS} is not the test of every seed in every test task")


def _read_portrait(path: Path) -> Portrait:
    card, files = _read(path, PortraitCard)
    try:
        return Portrait(path, card, npz_arrays(files["portrait.npz"]))
    except (KeyError, ValueError) as error:
        raise unreadable(path, error) from error


def _read(path: Path, kind: type[AnyCard]) -> tuple[AnyCard, dict[str, bytes]]:
    """The card of a folder and the bytes of its files."""
    body, files = read_files(path, kind.FILE)
    try:
        card = kind.read(body)
    except ValueError as error:
        raise unreadable(path, error) from error
    if card.name != path.name:
        raise altered(path / kind.FILE)
    return card, files
