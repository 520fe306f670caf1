"""Train and test one algorithm on one split of one environment: `bench run`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from comrl.algorithms.algorithm import Training
from comrl.algorithms.learner import KEY_ENCODER, State, hand_over, update
from comrl.benchmark.protocol import RunSpec
from comrl.benchmark.reporting.ledger import ONLINE, add_test, read_card, read_cards, run_name, write_run
from comrl.benchmark.reporting.portrait import keep_portrait
from comrl.benchmark.training.checkpoint import load, save
from comrl.benchmark.training.evaluate import costs_of_a_test
from comrl.benchmark.training.job import Job, card, prepare_job, settings_id
from comrl.benchmark.training.probe import probe
from comrl.benchmark.training.weights import as_bytes, read_weights, trained_state
from comrl.datasets.sampler import Sampler
from comrl.datasets.splits import find_split
from comrl.ground.errors import BadInput
from comrl.ground.files import locked


def present_seeds(job: Job, results: Path) -> set[int]:
    """The seeds of this very experiment that are already in the ledger."""
    same = [card for card in read_cards(results) if card.get("settings_id") == settings_id(job)]
    return {seed for card in same for seed in card["spec"]["seeds"]}


def run(spec: RunSpec, data: Path, results: Path, device: torch.device) -> dict[str, Any]:
    """Train the seeds that the ledger lacks as one stack, test them, keep all; a row that sums it up."""
    job = prepare_job(spec, data, device)
    there = present_seeds(job, results)
    row = {"env": spec.env, "split": spec.split, "algo": spec.algo, "seeds": " ".join(map(str, spec.seeds))}
    _tidy(results)
    absent = tuple(seed for seed in spec.seeds if seed not in there)
    tested = test_again(job, results) if spec.context == "online" else []
    if not absent:
        return row | {"done": f"tested online: {' '.join(tested)}" if tested else "already there"}
    job = replace(job, spec=spec.model_copy(update={"seeds": absent}))
    work = results / "work" / run_name(card(job))
    with locked(work):
        keep_portrait(job.dataset, results)
        state, curves, seconds = train(job, work / "checkpoint.pt")
        returns = pd.concat([job.test(state, split) for split in job.contexts], ignore_index=True)
        cost = {
            "train_seconds": seconds[-1],
            "gradient_steps": state.step,
            "before_seconds": sum(seconds[:-1]),
            "before_steps": sum(stage.step for stage in state.stages[:-1]),
            "encoder_parameters": _count(state, "encoder"),
            "parameters": _count(state, ""),
        } | costs_of_a_test(state, job.sampler(job.split), job.dataset.task_set.test[0])
        online = job.test_online(state) if spec.context == "online" else None
        mean, std = map(torch.from_numpy, job.standardisation)
        weights = as_bytes(state, mean, std)
        info = card(job) | {"cost": cost}
        path = write_run(results, info, curves, returns, probe(state, job), online, weights)
    _tidy(results)
    score = job.family.scores[0].name
    own = returns[returns["context"] == spec.split].groupby("seed")[score].mean()
    return row | {
        "seeds": " ".join(map(str, absent)),
        "score": score,
        "mean": round(float(own.mean()), 3),
        "std": round(float(own.std()), 3),
        "seconds": round(sum(seconds)),
        "done": path.name,
    }


def test_again(job: Job, results: Path) -> list[str]:
    """Test the finished runs of this experiment on contexts of their own where they were not; their names."""
    found = []
    for path in sorted((results / "runs").glob(f"{job.spec.env}.{job.spec.split}.*")):
        known = read_card(path)
        mine = known.get("settings_id") == settings_id(job) and {*known["spec"]["seeds"]} & {*job.spec.seeds}
        if mine and ONLINE not in known["files"]:
            test_run(path, job, online=True)
            found.append(path.name)
    return found


def test_run(path: Path, job: Job, *, online: bool, split: str | None = None) -> pd.DataFrame:
    """Test what a run trained, without training it again, and keep the result beside it.

    BadInput where the data are others than the run's, or no weights were kept.
    """
    known = read_card(path)
    if known["data_sha256"] != job.dataset.sha256:
        raise BadInput(
            f"{path.name} was trained on other data than {job.dataset.folder} holds; test it with those"
        )
    state = trained_state(known, read_weights(path, known, job.device), job.device)
    job = replace(job, spec=job.spec.model_copy(update={"seeds": tuple(known["spec"]["seeds"])}))
    if online:
        name, table = ONLINE, job.test_online(state)
    else:
        chosen = find_split(split or job.spec.split, job.family)
        name, table = f"returns.{chosen.name}.csv", job.test(state, chosen)
    add_test(path, name, table)
    return table


def test_folder(
    path: Path, data: Path, device: torch.device, context: str, split: str | None
) -> dict[str, Any]:
    """Test the run in a folder; a row that sums it up."""
    known = read_card(path)
    read_weights(path, known, device)  # says so at once where there are none
    spec = RunSpec(**{**known["spec"], "overrides": {}, "seeds": tuple(known["spec"]["seeds"])})
    job = replace(prepare_job(spec, data, device), training=Training(**known["training"]))
    table = test_run(path, job, online=context == "online", split=split)
    score = job.family.scores[0].name
    last = table[table["episode"] == table["episode"].max()] if context == "online" else table
    own = last.groupby("seed")[score].mean()
    about = {"run": path.name, "context": context, "split": split or spec.split, "score": score}
    return about | {"mean": round(float(own.mean()), 3), "std": round(float(own.std()), 3)}


def train(job: Job, checkpoint: Path) -> tuple[State, pd.DataFrame, list[float]]:
    """Train every stage to its last step, testing the last one on the way; the seconds of each stage.

    Goes on from the checkpoint where there is one.
    """
    state = job.fresh()
    curves: list[dict[str, Any]] = []
    seconds = [0.0 for _ in state.stages]
    if saved := load(checkpoint, job.device):
        state.restore(saved["state"])
        curves, seconds = saved["curves"], saved["seconds"]
    sampler = job.sampler(job.split)
    for place, stage in enumerate(state.stages):
        hand_over(stage)
        tested = stage is state
        if tested and not curves:
            curves += _curve_rows(job, state, {})
        with tqdm(
            total=stage.training.steps, initial=stage.step, unit="step", desc=_title(job, stage)
        ) as bar:
            while not stage.done:
                began = time.perf_counter()
                means = _learn(stage, sampler, bar)
                seconds[place] += time.perf_counter() - began
                if tested:
                    curves += _curve_rows(job, state, means)
                    bar.set_postfix({job.family.scores[0].name: f"{_latest(curves, job):.2f}"})
                save(checkpoint, {"state": state.snapshot(), "curves": curves, "seconds": seconds})
    return state, pd.DataFrame(curves), seconds


def _learn(stage: State, sampler: Sampler, bar: tqdm) -> dict[str, list[float]]:
    """Updates until the next test, or the last; the mean of every loss and metric over them: [S]."""
    training = stage.training
    seen: dict[str, list[torch.Tensor]] = {}
    for _ in range(min(training.eval_every - stage.step % training.eval_every, training.steps - stage.step)):
        losses, metrics = update(stage, stage.draw(sampler))
        named = {f"loss_{name}": value for name, value in losses.items()} | metrics
        for name, value in named.items():
            seen.setdefault(name, []).append(value)
        bar.update()
    return {name: torch.stack(each).mean(0).tolist() for name, each in seen.items()}


def _title(job: Job, stage: State) -> str:
    """What a progress bar is about."""
    own = stage.algorithm is job.algorithm
    who = job.algorithm.label + ("" if own else f", first {stage.algorithm.label}")
    seeds = " ".join(map(str, job.spec.seeds))
    return f"{who}, {job.family.label}, {job.split.label}, seeds {seeds}"


def _curve_rows(job: Job, state: State, learned: dict[str, list[float]]) -> list[dict[str, Any]]:
    """One row a seed: mean test returns at this step, and mean losses and metrics since the last."""
    scores = [score.name for score in job.family.scores]
    means = job.test(state, job.split).groupby("seed")[scores].mean()
    return [
        {"seed": seed, "step": state.step}
        | {name: float(means.loc[seed, name]) for name in scores}
        | {name: values[member] for name, values in learned.items()}
        for member, seed in enumerate(job.spec.seeds)
    ]


def _latest(curves: Sequence[dict[str, Any]], job: Job) -> float:
    latest = curves[-len(job.spec.seeds) :]
    return float(np.mean([row[job.family.scores[0].name] for row in latest]))


def _tidy(results: Path) -> None:
    """Remove the work folders of runs that are in the ledger."""
    for work in results.glob("work/*"):
        if (results / "runs" / work.name).exists():
            shutil.rmtree(work)


def _count(state: State, prefix: str) -> int:
    """Parameters of one seed's trained networks whose name starts so."""
    nets = [
        net
        for name, net in state.nets.items()
        if name.startswith(prefix) and name != KEY_ENCODER and not name.endswith("_target")
    ]
    return sum(p.numel() for net in nets for p in net.parameters()) // len(state.noise.generators)
