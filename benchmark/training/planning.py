"""What of the suite is there and what remains: data, trainings and tests, and how long they will take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from comrl.benchmark.protocol import data_preset, resolve
from comrl.benchmark.reporting.cards import PortraitCard, RunCard
from comrl.benchmark.reporting.ledger import SHIFTED, explored_file, read_card, read_portrait_card
from comrl.benchmark.spec import PRIOR, RunSpec
from comrl.benchmark.suite import Group, groups, seeds_of
from comrl.benchmark.training.job import settings_id_of
from comrl.datasets.store import Dataset, open_dataset
from comrl.envs.family import find_family
from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput
from comrl.ground.reading import folders_in

ONLINE_TEST, SHIFTED_TEST = "online", "shifted"
FILES = {ONLINE_TEST: explored_file(PRIOR), SHIFTED_TEST: SHIFTED}
"""The tests beside the offline one, and the file that each leaves in a run's folder."""


@dataclass(frozen=True)
class Part:
    """One algorithm of a place: which of its seeds are trained, and what is not tested yet."""

    spec: RunSpec
    absent: tuple[int, ...]
    untested: tuple[tuple[Path, str], ...]
    """Folders of runs, and the tests that they lack."""
    seconds: float | None
    """What the absent seeds will take; None: nobody knows."""

    @property
    def done(self) -> bool:
        """Whether nothing remains."""
        return not self.absent and not self.untested


@dataclass(frozen=True)
class Place:
    """A group's algorithms on one split of one environment."""

    group: Group
    env: str
    split: str
    data: bool
    """Whether the data set is there."""
    data_seconds: float | None
    """What it will take if it is not; None: nobody knows."""
    parts: tuple[Part, ...]

    @property
    def done(self) -> bool:
        """Whether nothing remains."""
        return self.data and all(part.done for part in self.parts)


@dataclass(frozen=True)
class There:
    """What is there of one preset's results: run folders with their cards, and what data sets took."""

    preset: str
    runs: tuple[tuple[Path, RunCard], ...]
    portraits: tuple[PortraitCard, ...]

    def seconds(self, spec: RunSpec, seeds: int) -> float | None:
        """What so many seeds will take, from runs of the same algorithm and environment; None without any.

        A step takes what it took there, of which this preset may have had another number then.
        """
        known = [card for _, card in self.runs if (card.spec.env, card.spec.algo) == (spec.env, spec.algo)]
        alike = [card for card in known if card.spec.split == spec.split] or known
        trained = sum(len(card.spec.seeds) for card in alike)
        if not trained:
            return None
        steps = resolve(spec.preset, spec.env).training.steps
        taken = [card.cost.train_seconds * steps / card.cost.gradient_steps for card in alike]
        before = [card.cost.before_seconds for card in alike]
        return (sum(taken) + sum(before)) / trained * seeds

    def portrait(self, env: str) -> PortraitCard | None:
        """The card of the environment's data that runs here used; None: there are none."""
        made = data_preset(self.preset, env)
        known = [card for card in self.portraits if (card.env, card.preset) == (env, made)]
        return known[-1] if known else None


def plan(preset: str, data: Path, results: Path, envs: Sequence[str] = ()) -> list[Place]:
    """Every place of the suite, or those of some environments, in the order in which they are made."""
    _refuse_unknown(envs)
    there = _there(preset, results)
    return [
        _place(group, env, split, data, there)
        for group in groups()
        for env in group.environments
        if not envs or env in envs
        for split in group.splits
    ]


def again(place: Place, data: Path, results: Path, preset: str) -> Place:
    """The place as it is now."""
    return _place(place.group, place.env, place.split, data, _there(preset, results))


def specs_of(group: Group, env: str, split: str, preset: str) -> list[RunSpec]:
    """What is trained in a place."""
    asked = RunSpec(
        env=env,
        split=split,
        preset=preset,
        algo="",
        seeds=tuple(range(seeds_of(group, preset))),
        overrides={},
        context="online" if ONLINE_TEST in group.tests else "offline",
    )
    return [asked.model_copy(update={"algo": algo}) for algo in group.algorithms]


def _refuse_unknown(envs: Iterable[str]) -> None:
    known = {env for group in groups() for env in group.environments}
    for env in envs:
        find_family(env)
        if env not in known:
            raise BadInput(f"{env} is not in the suite; {suggestion(env, known)}")


def _there(preset: str, results: Path) -> There:
    cards = [(path, read_card(path)) for path in folders_in(results / "runs")]
    portraits = tuple(read_portrait_card(path) for path in folders_in(results / "datasets"))
    runs = tuple((path, card) for path, card in cards if card.spec.preset == preset)
    return There(preset, runs, portraits)


def _place(group: Group, env: str, split: str, data: Path, there: There) -> Place:
    dataset, portrait = _whole(data, env, there.preset), there.portrait(env)
    seconds = portrait.generation_seconds if portrait else None
    known = dataset or portrait  # data made again as they were have the same hash, so their runs are done
    parts = [_part(group, spec, known, there) for spec in specs_of(group, env, split, there.preset)]
    return Place(group, env, split, dataset is not None, seconds, tuple(parts))


def _whole(data: Path, env: str, preset: str) -> Dataset | None:
    """The data set where it is complete and of the preset."""
    try:
        dataset = open_dataset(data, env)
    except BadInput:
        return None
    return dataset if dataset.birth.preset == data_preset(preset, env) else None


def _part(group: Group, spec: RunSpec, data: Dataset | PortraitCard | None, there: There) -> Part:
    own = list(_own_runs(spec, data, there))
    trained = {seed for _, card in own for seed in card.spec.seeds}
    absent = tuple(seed for seed in spec.seeds if seed not in trained)
    untested = [(path, test) for path, card in own for test in group.tests if FILES[test] not in card.files]
    return Part(spec, absent, tuple(untested), there.seconds(spec, len(absent)) if absent else 0.0)


def _own_runs(
    spec: RunSpec, data: Dataset | PortraitCard | None, there: There
) -> Iterator[tuple[Path, RunCard]]:
    """The finished runs of a spec's experiment on these data that have one of its seeds."""
    if data is None:
        return
    identity = settings_id_of(spec, data.sha256, len(data.task_set.train))
    for path, card in there.runs:
        if card.settings_id == identity and {*card.spec.seeds} & {*spec.seeds}:
            yield path, card
