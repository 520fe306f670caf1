"""Train and test one algorithm on one split of one environment: `bench run`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from comrl.algorithms.learner import KEY_ENCODER, State
from comrl.benchmark.protocol import RunSpec
from comrl.benchmark.reporting.cards import Cost
from comrl.benchmark.reporting.ledger import ONLINE, SHIFTED, add_test, read_card, read_cards, write_run
from comrl.benchmark.reporting.portrait import keep_portrait
from comrl.benchmark.reporting.tables import Row
from comrl.benchmark.training.evaluate import costs_of_a_test
from comrl.benchmark.training.job import Job, card, prepare_job
from comrl.benchmark.training.probe import probe
from comrl.benchmark.training.train import train
from comrl.benchmark.training.weights import as_bytes, read_weights, trained_state, training_of
from comrl.datasets.splits import find_split
from comrl.ground.errors import BadInput
from comrl.ground.files import claimed, locked


def present_seeds(job: Job, results: Path) -> set[int]:
    """The seeds of this very experiment that are already in the ledger."""
    same = [card for card in read_cards(results) if card.settings_id == job.settings_id]
    return {seed for card in same for seed in card.spec.seeds}


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
    tested = test_again(job, results) if spec.context == "online" else []
    with claimed_seeds(job, results) as absent:
        if absent:
            return row | _trained(replace(job, spec=spec.model_copy(update={"seeds": absent})), results)
    _forget(job, results)
    return row | {"done": f"tested online: {' '.join(tested)}" if tested else "already there"}


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
        state, curves, seconds, own = train(job, work / "checkpoint.pt")
        shifted = [job.test(state, split) for split in job.contexts[1:]]
        returns = pd.concat([own, *shifted], ignore_index=True)
        cost = _cost(job, state, seconds)
        online = job.test_online(state) if job.spec.context == "online" else None
        mean, std = map(torch.from_numpy, job.standardisation)
        weights = as_bytes(state, mean, std)
        about = card(job, cost, doubts_of(job, curves))
        path = write_run(results, about, curves, returns, probe(state, job), online, weights)
    _forget(job, results)
    score = job.family.scores[0].name
    means = own.groupby("seed")[score].mean()
    row: Row = {
        "seeds": " ".join(map(str, job.spec.seeds)),
        "score": score,
        "mean": round(float(means.mean()), 3),
        "std": round(float(means.std()), 3),
        "seconds": round(sum(seconds)),
        "done": path.name,
    }
    return row | ({"doubt": "; ".join(about.doubts)} if about.doubts else {})


def doubts_of(job: Job, curves: pd.DataFrame) -> tuple[str, ...]:
    """What the control says against its training, with the seeds of which it says so; nothing for most."""
    doubts: Callable[[dict[str, float]], list[str]] = getattr(job.algorithm.control, "doubts", lambda _: [])
    found: dict[str, list[str]] = {}
    for seed, own in curves[curves["step"] > 0].groupby("seed"):
        for doubt in doubts(own.mean().to_dict()):
            found.setdefault(doubt, []).append(str(seed))
    return tuple(f"{doubt} (seed {', '.join(seeds)})" for doubt, seeds in found.items())


def test_again(job: Job, results: Path) -> list[str]:
    """Test the finished runs of this experiment on contexts of their own where they were not; their names."""
    found = []
    for path in sorted((results / "runs").glob(f"{job.spec.env}.{job.spec.split}.*")):
        known = read_card(path)
        mine = known.settings_id == job.settings_id and {*known.spec.seeds} & {*job.spec.seeds}
        if mine and ONLINE not in known.files:
            test_run(path, job, context="online")
            found.append(path.name)
    return found


def test_run(
    path: Path,
    job: Job,
    *,
    context: str,
    split: str | None = None,
    on_training_tasks: bool = False,
) -> pd.DataFrame:
    """Test what a run trained, without training it again, and keep the result beside it.

    On its training tasks in place of the test tasks where asked for: what choices of settings may look at.
    BadInput where the data are others than the run's, or no weights were kept.
    """
    known = read_card(path)
    if known.data_sha256 != job.dataset.sha256:
        raise BadInput(
            f"{path.name} was trained on other data than {job.dataset.folder} holds; test it with those"
        )
    state = trained_state(known, read_weights(path, known, job.device), job.device)
    job = replace(job, spec=job.spec.model_copy(update={"seeds": known.spec.seeds}))
    if context == "online":
        name, table = ONLINE, job.test_online(state)
    elif context == "shifted":
        name, table = SHIFTED, job.test_shifted(state)
    else:
        chosen = find_split(split or job.spec.split, job.family)
        table = job.test(state, chosen, on_training_tasks=on_training_tasks)
        name = f"{'training_tasks' if on_training_tasks else 'returns'}.{chosen.name}.csv"
    add_test(path, name, table)
    return table


def test_folder(
    path: Path, data: Path, device: torch.device, context: str, split: str | None, tasks: str = "test"
) -> Row:
    """Test the run in a folder; a row that sums it up."""
    known = read_card(path)
    read_weights(path, known, device)  # says so at once where there are none
    spec = known.spec.model_copy(update={"overrides": {}})
    job = replace(prepare_job(spec, data, device), training=training_of(known))
    table = test_run(path, job, context=context, split=split, on_training_tasks=tasks == "train")
    score = job.family.scores[0].name
    last = table[table["episode"] == table["episode"].max()] if context == "online" else table
    last = last[last["behaviour"] != last["task"]] if context == "shifted" else last
    own = last.groupby("seed")[score].mean()
    about: Row = {"run": path.name, "context": context, "split": split or spec.split, "tasks": tasks}
    about |= {"score": score}
    return about | {"mean": round(float(own.mean()), 3), "std": round(float(own.std()), 3)}


def _forget(job: Job, results: Path) -> None:
    """Remove what a run that is in the ledger needed on the way."""
    if (results / "runs" / job.name).exists():
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
