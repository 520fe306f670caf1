"""A run before it begins: all that it needs, settled and checked, and the card it will carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from comrl.algorithms.algorithm import Algorithm, Training, find_algorithm
from comrl.algorithms.learner import State, start
from comrl.benchmark.generation.generate import packages
from comrl.benchmark.protocol import (
    RunSpec,
    configured,
    describe,
    effective_overrides,
    resolve,
    run_id,
    settled,
    split_overrides,
)
from comrl.benchmark.provenance import code_revision
from comrl.benchmark.reporting.cards import Cost, Provenance, RunCard, run_name
from comrl.benchmark.training.evaluate import evaluate
from comrl.benchmark.training.explore import Exploration, settled_explorations
from comrl.benchmark.training.online import evaluate_online
from comrl.benchmark.training.shifted import Contexts, evaluate_shifted, relabelled, visited
from comrl.datasets.cards import TaskSetCard
from comrl.datasets.sampler import Sampler
from comrl.datasets.splits import Split, find_split, load_split, refuse_lacking, splits_in
from comrl.datasets.store import Dataset, open_dataset
from comrl.datasets.transitions import Space, space_of
from comrl.datasets.visits import load_visits, pairs_of
from comrl.envs.family import TaskFamily, find_family
from comrl.ground.errors import BadInput, raise_all, tried
from comrl.ground.machine import precision, processor

CPU = torch.device("cpu")


@dataclass
class Job:
    """Everything that one run needs, settled and checked before anything is computed."""

    spec: RunSpec
    algorithm: Algorithm
    training: Training
    family: TaskFamily
    dataset: Dataset
    device: torch.device
    samplers: dict[str, Sampler] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """Of everything that decides the result."""
        return self._id_with(self.spec.seeds)

    @cached_property
    def settings_id(self) -> str:
        """The id that the run would have without seeds: runs that share it are one experiment."""
        return self._id_with(())

    def _id_with(self, seeds: tuple[int, ...]) -> str:
        spec = self.spec.model_copy(update={"seeds": seeds})
        return run_id(self.algorithm, self.training, spec, self.dataset.sha256, self.unread)

    @property
    def name(self) -> str:
        """The run's folder."""
        return run_name(self.spec, self.id)

    @property
    def split(self) -> Split:
        """The split that it trains on."""
        return find_split(self.spec.split, self.family)

    @property
    def contexts(self) -> list[Split]:
        """The splits that contexts come from in the last test: its own first, then all of the same radius."""
        alike = [s for s in splits_in(self.dataset) if s.relabel == self.split.relabel and s != self.split]
        return [self.split, *alike]

    @cached_property
    def explorations(self) -> tuple[Exploration, ...]:
        """How the tests on self-collected contexts explore; none where they were not asked for.

        BadInput where a rule is unknown, or cannot be followed here.
        """
        spec = self.spec
        if spec.context != "online":
            return ()
        return settled_explorations(spec.explore, spec.explore_steps, self.family, self.fresh())

    @property
    def unread(self) -> frozenset[str]:
        """The shared settings that this split and environment have no use for."""
        return _unread(self.split, self.family)

    def sampler(self, split: Split) -> Sampler:
        """The split's data on the device, read once."""
        if split.name not in self.samplers:
            tasks = self.dataset.task_set
            mean, std = self.standardisation
            params = (tasks.params - mean) / std  # [T, P]
            data = load_split(
                self.dataset, split, pool_per_task=self.training.relabeled_pool, radius=self.radius(split)
            )
            self.samplers[split.name] = Sampler(data, params, self.space, self.device)
        return self.samplers[split.name]

    @property
    def standardisation(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the training tasks' parameters: [P], [P]."""
        tasks = self.dataset.task_set
        known = tasks.params[list(tasks.train)]
        std = known.std(0)
        return known.mean(0), np.where(std > 1e-6, std, 1.0)  # nothing is learned of what is the same for all

    def radius(self, split: Split) -> float | None:
        """The goal radius of a split's context: the family's, unless the run has its own."""
        own = self.training.context_radius
        return own if own is not None and split.radius(self.family) is not None else split.radius(self.family)

    @property
    def space(self) -> Space:
        """What the algorithm sees of the family."""
        tasks, held_out = self.dataset.task_set.train, self.dataset.task_set.test
        if self.algorithm.sees_test_tasks:
            tasks = (*tasks, *(task for task in held_out if task not in tasks))
        return space_of(self.family, tasks, sees_position=self.training.sees_position)

    def fresh(self) -> State:
        """The stack of seeds at step 0."""
        return start(self.algorithm, self.training, self.space, self.spec.seeds, self.device)

    @property
    def testing(self) -> Job:
        """The job as its tests see it: on the CPU, so that contexts do not depend on what trained."""
        return self if self.device.type == "cpu" else self._on_the_cpu

    @cached_property
    def _on_the_cpu(self) -> Job:
        return replace(self, device=CPU, samplers={})

    def test(self, state: State, split: Split, *, on_training_tasks: bool = False) -> pd.DataFrame:
        """Returns on the test tasks, or the training tasks, with contexts from a split."""
        tasks = self.dataset.task_set
        shown = replace(tasks, test=tasks.train) if on_training_tasks else tasks
        return evaluate(state, self.spec.seeds, self.sampler(split), self.family, shown, split.name)

    def test_shifted(self, state: State) -> pd.DataFrame:
        """Returns on the test tasks with contexts that other tasks' agents drew."""
        sampler, radius, tasks = self.sampler(self.split), self.radius(self.split), self.dataset.task_set
        contexts: Contexts = partial(relabelled, sampler, self.family, tasks, radius)
        if self.family.dynamics_differ:
            visits = load_visits(self.dataset, self.split, radius)
            params = sampler.params[list(pairs_of(tasks).task)].cpu().numpy()
            contexts = partial(visited, Sampler(visits, params, self.space, self.device))
        return evaluate_shifted(state, self.spec.seeds, sampler, self.family, tasks, contexts)

    def test_online(self, state: State, exploration: Exploration) -> pd.DataFrame:
        """Returns on the test tasks with contexts that the policies collect themselves."""
        sampler, radius = self.sampler(self.split), self.radius(self.split)
        tasks = self.dataset.task_set
        return evaluate_online(state, self.spec.seeds, sampler, self.family, tasks, radius, exploration)


def prepare_job(spec: RunSpec, data: Path, device: torch.device) -> Job:
    """Settle a spec; BadInput names whatever is unknown, missing or impossible."""
    return _settle(spec, partial(open_dataset, data, check=True), device)


def prepare_jobs(specs: Iterable[RunSpec], data: Path, device: torch.device) -> list[Job | Exception]:
    """Settle all specs; those of one environment share its data, which are read and checked once.

    BadInput tells of every spec that is refused.  An error of another kind takes the place of its job alone.
    """
    opened = cache(lambda env: tried(partial(open_dataset, data, env, check=True)))

    def sound(env: str) -> Dataset:
        dataset = opened(env)
        if isinstance(dataset, Exception):
            raise dataset
        return dataset

    jobs = [tried(partial(_settle, spec, sound, device)) for spec in specs]
    raise_all([job for job in jobs if isinstance(job, BadInput)])
    return jobs


def settings_id_of(spec: RunSpec, data_sha256: str, tasks: int) -> str:
    """The id without seeds that a spec will have on data of so many training tasks; nothing is opened."""
    spec, training, algorithm = _configured(spec.model_copy(update={"seeds": ()}), tasks)
    family = find_family(spec.env)
    return run_id(algorithm, training, spec, data_sha256, _unread(find_split(spec.split, family), family))


def _unread(split: Split, family: TaskFamily) -> frozenset[str]:
    pool = set() if split.relabel else {"relabeled_pool"}
    return frozenset(pool if split.radius(family) is not None else {*pool, "context_radius"})


def _configured(spec: RunSpec, tasks: int) -> tuple[RunSpec, Training, Algorithm]:
    """A spec that names what it changes by whole path, and its protocol and algorithm with that in them."""
    algorithm = find_algorithm(spec.algo)
    spec = spec.model_copy(update={"overrides": effective_overrides(algorithm, spec, tasks)})
    shared, own = split_overrides(spec.overrides)
    training = resolve(spec.preset, spec.env, shared, tasks).training
    return spec, training, configured(algorithm, spec.preset, spec.env, own, spec.split)


def _settle(spec: RunSpec, opened: Callable[[str], Dataset], device: torch.device) -> Job:
    family = find_family(spec.env)
    effective_overrides(find_algorithm(spec.algo), spec)  # what is misspelt says so before data are opened
    find_split(spec.split, family)
    _refuse_seeds(spec.seeds)
    dataset = opened(spec.env)
    tasks = len(dataset.task_set.train)
    spec, training, algorithm = _configured(spec, tasks)
    _refuse_wide(training, tasks, str(dataset.folder))
    job = Job(spec, algorithm, training, family, dataset, device)
    refuse_lacking(job.dataset, job.split)
    for name in job.unread:
        if f"training.{name}" in spec.overrides:
            raise BadInput(
                f"--set {name} changes nothing: {spec.split} data of {spec.env} have no use for it"
            )
    job.fresh()  # networks that cannot be built say so now, and so does an exploration
    _ = job.explorations
    return job


def _refuse_seeds(seeds: tuple[int, ...]) -> None:
    """BadInput where seeds are missing, given twice, or are no number that a table's column holds."""
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**63 for seed in seeds):
        raise BadInput(
            f"--seeds {' '.join(map(str, seeds))}: give different seeds, none below 0 or above 2^63"
        )


def _refuse_wide(training: Training, tasks: int, where: str) -> None:
    """BadInput where a meta-batch asks for more tasks than there are to train on, or these are too few."""
    if tasks < 2:
        raise BadInput(
            f"{where} has one training task and a batch needs two or more; hold fewer out, or log more"
        )
    if training.meta_batch > tasks:
        raise BadInput(
            f"training.meta_batch {training.meta_batch} exceeds the {tasks} training tasks of {where}, which "
            f"must be distinct; lower it with --set meta_batch={tasks}"
        )


def card(job: Job, cost: Cost, birth: Provenance, doubts: tuple[str, ...] = ()) -> RunCard:
    """The run's card."""
    return RunCard(
        id=job.id,
        settings_id=job.settings_id,
        spec=job.spec,
        role=job.algorithm.role,
        label=job.algorithm.label,
        env_label=job.family.label,
        algorithm=describe(job.algorithm),
        training=asdict(job.training),
        preset_parts=settled(job.spec.preset, job.spec.env, "parts", split=job.spec.split),
        horizon=job.family.horizon,
        scores=tuple((score.name, score.label) for score in job.family.scores),
        task_set=TaskSetCard.of(job.dataset.task_set),
        data_sha256=job.dataset.sha256,
        train_split_radius=job.radius(job.split),
        provenance=birth,
        cost=cost,
        doubts=doubts,
    )


def birth_of(device: torch.device) -> Provenance:
    """What a training that goes on now is made with."""
    return Provenance(
        git=code_revision(),
        packages=packages(),
        threads=torch.get_num_threads(),
        device=str(device),
        precision=precision(),
        processor=processor(),
    )
