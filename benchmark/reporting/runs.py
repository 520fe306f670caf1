"""Runs as they are read, and runs of one experiment, trained at different times, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import JsonValue

from comrl.benchmark.reporting.cards import RunCard
from comrl.benchmark.reporting.formats import Arrays
from comrl.benchmark.spec import PRIOR, RunSpec
from comrl.ground.errors import BadInput

SHARED = frozenset({"sparsity_ratio"})
"""Arrays of the probe without the seeds in front."""


@dataclass(frozen=True, eq=False)
class Run:
    """One algorithm trained on one split of one environment, all its seeds."""

    path: Path
    card: RunCard
    curves: pd.DataFrame
    returns: pd.DataFrame
    probe: Arrays
    explored: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Every episode of the tests on self-collected contexts, by the name of the exploration."""
    shifted: pd.DataFrame | None = None
    """The test on contexts that other tasks' agents drew, where it was asked for."""
    parts: tuple[RunCard, ...] = ()
    """The cards of the runs that this one was put together from; none where it was trained as it is."""
    origin: str = ""
    """Whose run it is: the name of a pack, or nothing for one of ours."""

    @property
    def cards(self) -> tuple[RunCard, ...]:
        """The card of every training in it."""
        return self.parts or (self.card,)

    @property
    def online(self) -> pd.DataFrame | None:
        """The test on self-collected contexts that explores from the prior, where it was asked for."""
        return self.explored.get(PRIOR)

    @property
    def spec(self) -> RunSpec:
        """What was asked for: env, split, preset, algo, seeds, overrides."""
        return self.card.spec

    @property
    def env(self) -> str:
        """The environment's name."""
        return self.spec.env

    @property
    def split(self) -> str:
        """The split that it was trained on."""
        return self.spec.split

    @property
    def algo(self) -> str:
        """The algorithm's name."""
        return self.spec.algo

    @property
    def role(self) -> str:
        """What it is in a table: `method`, or the `upper` or `lower` yardstick."""
        return self.card.role

    @property
    def scores(self) -> dict[str, str]:
        """Label of every score by name; the first is the headline."""
        return dict(self.card.scores)

    @property
    def headline(self) -> str:
        """The name of the score that the headline table shows."""
        return next(iter(self.scores))

    @property
    def variant(self) -> str:
        """The algorithm's name in print, with the overrides that make it another."""
        own = [f"{key}={value}" for key, value in self._overrides() if not self._is_training(key)]
        return self.card.label + (f" [{', '.join(own)}]" if own else "")

    @property
    def label(self) -> str:
        """The same, and whose run it is."""
        return f"{self.variant} [pack {self.origin}]" if self.origin else self.variant

    @property
    def protocol(self) -> str:
        """The preset, with the overrides that change its training numbers."""
        changed = [f"{key}={value}" for key, value in self._overrides() if self._is_training(key)]
        return ",".join([self.spec.preset, *changed])

    def _overrides(self) -> list[tuple[str, JsonValue]]:
        return sorted(self.spec.overrides.items())

    def _is_training(self, key: str) -> bool:
        return key.removeprefix("training.") in self.card.training


def merge_seeds(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Runs of one experiment whose seeds were trained at different times, as the one run that they are."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.card.settings_id or run.path.name, []).append(run)
    return tuple(
        group[0] if len(group) == 1 else _merged(_each_seed_once(group)) for group in groups.values()
    )


def _each_seed_once(group: list[Run]) -> list[Run]:
    """The runs without the seeds that a run before them has; BadInput where it has other rows of one."""
    first: dict[int, Run] = {}
    kept = []
    for run in group:
        for seed in (seed for seed in run.spec.seeds if seed in first):
            if not all(map(_alike, _rows(run, seed), _rows(first[seed], seed))):
                names = f"{first[seed].path.name} and {run.path.name}"
                raise BadInput(
                    f"{names} hold seed {seed} with different rows; move one of these folders away"
                )
        new = [seed for seed in run.spec.seeds if seed not in first]
        first |= dict.fromkeys(new, run)
        if new:
            kept.append(run if len(new) == len(run.spec.seeds) else _only(run, new))
    return kept


def _rows(run: Run, seed: int) -> tuple[pd.DataFrame, ...]:
    """What a run's training and last test say of a seed."""
    return tuple(_of([seed], frame) for frame in (run.curves, run.returns))


def _of(seeds: Sequence[int], frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["seed"].isin(seeds)]


def _alike(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return one.reset_index(drop=True).equals(other.reset_index(drop=True))


def _only(run: Run, seeds: Sequence[int]) -> Run:
    """A run with some of its seeds alone."""
    members = [run.spec.seeds.index(seed) for seed in seeds]
    return replace(
        run,
        card=_with_seeds(run.card, tuple(seeds)),
        curves=_of(seeds, run.curves),
        returns=_of(seeds, run.returns),
        probe={name: values if name in SHARED else values[members] for name, values in run.probe.items()},
        explored={name: _of(seeds, frame) for name, frame in run.explored.items()},
        shifted=None if run.shifted is None else _of(seeds, run.shifted),
    )


def _with_seeds(card: RunCard, seeds: tuple[int, ...]) -> RunCard:
    return card.model_copy(update={"spec": card.spec.model_copy(update={"seeds": seeds})})


def _merged(group: list[Run]) -> Run:
    """Runs of different seeds as one; a test that some of them lack has the others' seeds alone, and an
    array of the probe that some lack, or have in another shape, is left out.
    """
    cards = tuple(run.card for run in group)
    seconds = {
        name: sum(getattr(card.cost, name) for card in cards) for name in ("train_seconds", "before_seconds")
    }
    card = _with_seeds(cards[0], tuple(seed for each in cards for seed in each.spec.seeds)).model_copy(
        update={
            "cost": cards[0].cost.model_copy(update=seconds),
            "doubts": tuple(dict.fromkeys(doubt for each in cards for doubt in each.doubts)),
        }
    )
    shapes = [{name: values.shape[1:] for name, values in run.probe.items()} for run in group]
    probe = {
        name: values if name in SHARED else np.concatenate([run.probe[name] for run in group])
        for name, values in group[0].probe.items()
        if all(shape.get(name) == values.shape[1:] for shape in shapes)
    }
    explored = {
        name: _joined(run.explored.get(name) for run in group)
        for name in dict.fromkeys(name for run in group for name in run.explored)
    }
    moved = [run.shifted for run in group if run.shifted is not None]
    return replace(
        group[0],
        card=card,
        curves=_joined(run.curves for run in group),
        returns=_joined(run.returns for run in group),
        probe=probe,
        explored=explored,
        shifted=_joined(moved) if moved else None,
        parts=cards,
    )


def _joined(frames: Iterable[pd.DataFrame | None]) -> pd.DataFrame:
    """The rows of all tables there are, one table after another."""
    return pd.concat([frame for frame in frames if frame is not None], ignore_index=True)
