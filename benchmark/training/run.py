"""Train and test one algorithm on one split of one environment: `bench run`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from comrl.algorithms.learner import KEY_ENCODER, State
from comrl.benchmark.reporting.cards import Cost, Provenance, RunCard
from comrl.benchmark.reporting.folders import read_files
from comrl.benchmark.reporting.ledger import SHIFTED, add_test, explored_tables, read_card, write_run
from comrl.benchmark.reporting.portrait import keep_portrait
from comrl.benchmark.reporting.tables import Row, mean_std
from comrl.benchmark.spec import PRIOR, RunSpec
from comrl.benchmark.training.evaluate import costs_of_a_test
from comrl.benchmark.training.explore import Exploration
from comrl.benchmark.training.job import Job, card, prepare_job
from comrl.benchmark.training.probe import probe
from comrl.benchmark.training.scalars import Scalars
from comrl.benchmark.training.train import Watch, as_it_is, train
from comrl.benchmark.training.weights import as_bytes, read_weights, trained_state, training_of
from comrl.datasets.splits import find_split
from comrl.ground.errors import BadInput
from comrl.ground.files import claimed, locked
from comrl.ground.reading import folders_in
from comrl.ground.showing import TENSORBOARD


def present_seeds(job: Job, results: Path) -> set[int]:
    """The seeds of this very experiment that are already in the ledger."""
    return {seed for _, card in _same(job, results) for seed in card.spec.seeds}


def _same(job: Job, results: Path) -> Iterator[tuple[Path, RunCard]]:
    """The finished runs of this very experiment; other runs are not opened, whatever their state."""
    for path in folders_in(results / "runs"):
        if path.name.startswith(f"{job.spec.env}.{job.spec.split}.") and f".{job.spec.algo}." in path.name:
            card = read_card(path)
            if card.settings_id == job.settings_id:
                yield path, card


def run(spec: RunSpec, data: Path, results: Path, device: torch.device) -> Row:
    """Settle a spec and run it; a row that sums it up."""
    return run_job(prepare_job(spec, data, device), results)


def run_job(job: Job, results: Path) -> Row:
    """Train the seeds that the ledger lacks as one stack, test them, keep all; a row that sums it up."""
    spec = job.spec
    row: Row = {
        "env": spec.env,
        "split": spec.split,
        "algo": spec.algo,
        "seeds": " ".join(map(str, spec.seeds)),
    }
    tested = test_again(job, results)
    with claimed_seeds(job, results) as absent:
        if absent:
            row |= _trained(replace(job, spec=spec.model_copy(update={"seeds": absent})), results)
            return row | last_episodes(job, results)
    _forget(job, results)
    row |= {"done": f"tested online: {' '.join(tested)}" if tested else "already there"}
    return row | last_episodes(job, results)


@contextmanager
def claimed_seeds(job: Job, results: Path) -> Iterator[tuple[int, ...]]:
    """Own the seeds of this experiment that are neither in the ledger nor another process's.

    BadInput where none is left and others are at work on some.
    """
    with ExitStack() as own:
        mine, refused = [], None
        for seed in job.spec.seeds:
            try:
                own.enter_context(claimed(results / "work" / f".{job.settings_id}.{seed}.lock"))
                mine.append(seed)
            except BadInput as error:
                refused = error
        there = present_seeds(job, results)
        absent = tuple(seed for seed in mine if seed not in there)
        if refused and not absent:
            raise refused
        yield absent


def _trained(job: Job, results: Path) -> Row:
    """Train, test and keep a job's seeds as one stack; what its row says of them."""
    work = results / "work" / job.name
    with locked(work):
        keep_portrait(job.dataset, results)
        with _watched(job, results) as watch:
            state, curves, seconds, own, births = train(job, work / "checkpoint.pt", watch)
        testing, still = job.testing, as_it_is(state, job.testing)
        shifted = [testing.test(still, split) for split in job.contexts[1:]]
        returns = pd.concat([own, *shifted], ignore_index=True)
        cost = _cost(job, state, seconds)
        explored = {way.name: testing.test_online(still, way) for way in job.explorations}
        weights = as_bytes(state, *map(torch.from_numpy, job.standardisation))
        about = card(job, cost, births[0], (*doubts_of(job, curves), *resumed_with(births)))
        path = write_run(results, about, curves, returns, probe(still, testing), explored, weights)
    _forget(job, results)
    mean, std = _of_seeds(own, job)
    row: Row = {
        "seeds": " ".join(map(str, job.spec.seeds)),
        "score": job.family.scores[0].name,
        "mean": round(mean, 3),
        "std": round(std, 3),
        "seconds": round(sum(seconds)),
        "done": path.name,
    }
    return row | ({"doubt": "; ".join(about.doubts)} if about.doubts else {})


@contextmanager
def _watched(job: Job, results: Path) -> Iterator[Watch]:
    """What sees the curves as they come: TensorBoard's files where they were asked for, else nothing."""
    if not os.environ.get(TENSORBOARD):
        yield lambda rows: None
        return
    with closing(Scalars(results / "tensorboard" / job.name)) as scalars:
        yield scalars


def doubts_of(job: Job, curves: pd.DataFrame) -> tuple[str, ...]:
    """What the control says against its training, with the seeds of which it says so; nothing for most."""
    doubts: Callable[[dict[str, float]], list[str]] = getattr(job.algorithm.control, "doubts", lambda _: [])
    found: dict[str, list[str]] = {}
    for seed, own in curves[curves["step"] > 0].groupby("seed"):
        for doubt in doubts(own.mean().to_dict()):
            found.setdefault(doubt, []).append(str(seed))
    return tuple(f"{doubt} (seed {', '.join(seeds)})" for doubt, seeds in found.items())


def resumed_with(births: Sequence[Provenance]) -> list[str]:
    """What a training went on with where it was begun with another: a sentence each time."""
    return [
        f"it went on with {', '.join(sorted(_told(now) - _told(then)))}, "
        f"and until then with {', '.join(sorted(_told(then) - _told(now)))}"
        for then, now in pairwise(births)
    ]


def _told(birth: Provenance) -> set[str]:
    packages = {f"{name} {version}" for name, version in birth.packages.items()}
    device = f"{birth.device} ({birth.precision}, threads: {birth.threads})"
    return {f"code {birth.git}", f"processor {birth.processor or 'not on record'}", device, *packages}


def test_again(job: Job, results: Path) -> list[str]:
    """Test the finished runs of this experiment on contexts of their own where they were not; their names."""
    found = []
    for path, known in _runs_of(job, results):
        missing = [way for way in job.explorations if way.file not in known.files]
        for way in missing:
            test_run(path, job, context="online", exploration=way)
        found += [path.name] if missing else []
    return found


def _runs_of(job: Job, results: Path) -> list[tuple[Path, RunCard]]:
    """The finished runs of this experiment that have one of the job's seeds, and their cards."""
    return [(path, card) for path, card in _same(job, results) if {*card.spec.seeds} & {*job.spec.seeds}]


def last_episodes(job: Job, results: Path) -> Row:
    """The last episode after each exploration asked for: mean (standard deviation) over the job's seeds."""
    if not job.explorations:
        return {}
    row: Row = {}
    kept = [explored_tables(read_files(path, RunCard.FILE)[1]) for path, _ in _runs_of(job, results)]
    for way in job.explorations:
        found = [tables[way.name] for tables in kept if way.name in tables]
        own = [table[table["seed"].isin(job.spec.seeds)] for table in found]
        if own:  # another process may just have trained these seeds and not tested them so
            row[f"explore {way.name}"] = mean_std(*_of_seeds(_last_of(pd.concat(own)), job))
    return row


def _last_of(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last episode of every trial."""
    return table[table["episode"] == table["episode"].max()]


def _of_seeds(table: pd.DataFrame, job: Job) -> tuple[float, float]:
    """Mean and standard deviation over seeds of the headline score."""
    means = table.groupby("seed")[job.family.scores[0].name].mean()
    return float(means.mean()), float(means.std())


def job_of(path: Path, data: Path, device: torch.device, **asked: Any) -> Job:
    """The job of a run's folder, its settings as they were; BadInput where no weights were kept."""
    known = read_card(path)
    read_weights(path, known, device)  # says so at once where there are none
    spec = known.spec.model_copy(update={"overrides": {}, **asked})
    return replace(prepare_job(spec, data, device), training=training_of(known))


def trained(path: Path, job: Job) -> tuple[State, Job]:
    """What a run trained, and its job with all its seeds, both where tests are; BadInput where the data are
    others.
    """
    known, job = read_card(path), job.testing
    if known.data_sha256 != job.dataset.sha256:
        raise BadInput(
            f"{path.name} was trained on other data than {job.dataset.folder} holds; test it with those"
        )
    state = trained_state(known, read_weights(path, known, job.device), job.device)
    return state, replace(job, spec=job.spec.model_copy(update={"seeds": known.spec.seeds}))


def test_run(
    path: Path,
    job: Job,
    *,
    context: str,
    split: str | None = None,
    on_training_tasks: bool = False,
    exploration: Exploration | None = None,
) -> pd.DataFrame:
    """Test what a run trained, without training it again, and keep the result beside it.

    On its training tasks in place of the test tasks where asked for: what choices of settings may look at.
    BadInput where the data are others than the run's, or no weights were kept.
    """
    state, job = trained(path, job)
    if exploration is not None:
        name, table = exploration.file, job.test_online(state, exploration)
    elif context == "shifted":
        name, table = SHIFTED, job.test_shifted(state)
    else:
        chosen = find_split(split or job.spec.split, job.family)
        table = job.test(state, chosen, on_training_tasks=on_training_tasks)
        name = f"{'training_tasks' if on_training_tasks else 'returns'}.{chosen.name}.csv"
    add_test(path, name, table)
    return table


def test_folder(
    path: Path,
    data: Path,
    device: torch.device,
    context: str,
    split: str | None,
    tasks: str = "test",
    explore: Sequence[str] = (PRIOR,),
    explore_steps: int | None = None,
) -> list[Row]:
    """Test the run in a folder; a row that sums up each test."""
    asked = {"explore": explore, "explore_steps": explore_steps} if context == "online" else {}
    mode = "online" if asked else "offline"
    job = job_of(path, data, device, context=mode, **asked)
    ways = job.explorations or (None,)
    return [_tested(path, job, context, split, tasks, way) for way in ways]


def _tested(
    path: Path, job: Job, context: str, split: str | None, tasks: str, way: Exploration | None
) -> Row:
    """Test the run in one way; a row that sums it up."""
    on_training_tasks = tasks == "train"
    table = test_run(
        path, job, context=context, split=split, on_training_tasks=on_training_tasks, exploration=way
    )
    about: Row = {"run": path.name, "context": context}
    if way is not None:
        table, about = _last_of(table), about | {"explore": way.name}
    if context == "shifted":
        table = table[table["behaviour"] != table["task"]]
    mean, std = _of_seeds(table, job)
    about |= {"split": split or job.spec.split, "tasks": tasks, "score": job.family.scores[0].name}
    return about | {"mean": round(mean, 3), "std": round(std, 3)}


def _forget(job: Job, results: Path) -> None:
    """Remove what a run that is in the ledger needed on the way."""
    if (results / "runs" / job.name).is_dir():
        shutil.rmtree(results / "work" / job.name, ignore_errors=True)


def _cost(job: Job, state: State, seconds: list[float]) -> Cost:
    """What the run took, stages before it apart."""
    return Cost(
        train_seconds=seconds[-1],
        gradient_steps=state.step,
        before_seconds=sum(seconds[:-1]),
        before_steps=sum(stage.step for stage in state.stages[:-1]),
        encoder_parameters=_count(state, "encoder"),
        parameters=_count(state, ""),
        **costs_of_a_test(state, job.sampler(job.split), job.dataset.task_set.test[0]),
    )


def _count(state: State, prefix: str) -> int:
    """Parameters of one seed's trained networks whose name starts so."""
    nets = [
        net
        for name, net in state.nets.items()
        if name.startswith(prefix) and name != KEY_ENCODER and not name.endswith("_target")
    ]
    return sum(p.numel() for net in nets for p in net.parameters()) // len(state.noise.generators)
