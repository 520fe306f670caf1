"""How fast chosen algorithms make steps here, in every way that there is: `bench speed --algo … --env …`."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from comrl.algorithms.accelerate import Engine
from comrl.algorithms.algorithm import find_algorithm
from comrl.algorithms.learner import start
from comrl.benchmark.commands.speed import SEEDS, random_data
from comrl.benchmark.protocol import configured, resolve, with_setting
from comrl.datasets.transitions import space_of
from comrl.envs.family import find_family
from comrl.ground.machine import Machine, prepare
from comrl.ground.showing import each

SECONDS = 6.0  # that a way is timed for
ENDLESS = 10**9  # steps
WARM = 8  # steps that do not count
COMPARED = 1000  # steps after which the losses of two precisions are compared
Row = dict[str, object]


def step_rows(algos: Sequence[str], envs: Sequence[str], preset: str, machine: Machine) -> list[Row]:
    """Steps a second of each algorithm on each environment, one row for every way of making them."""
    pairs = each([*product(envs, algos)], "steps", "algorithm")
    return [row for env, algo in pairs for row in Case(algo, env, preset, machine).rows()]


class Case:
    """One algorithm on one environment at a preset."""

    def __init__(self, algo: str, env: str, preset: str, machine: Machine) -> None:
        self.algo, self.env, self.preset, self.machine = algo, env, preset, machine

    def rows(self) -> Iterator[Row]:
        """The stack, one seed alone, the encoder at rest, on CUDA graphs, and two runs side by side."""
        eager = rate(self.engine(graphed=False))
        yield self._row(f"{len(SEEDS)} seeds, eager", eager, eager)
        yield self._row("one seed, eager", rate(self.engine(SEEDS[:1], graphed=False)), eager)
        if self.comes_to_rest():
            yield self._row("eager, encoder at rest", rate(self.engine(graphed=False, rests=True)), eager)
        if self.machine.device != "cpu":
            fast = replace(self.machine, precision="tf32")
            yield self._row("captured graph", rate(self.engine(graphed=True)), eager)
            yield self._row("captured graph, tf32", rate(self.engine(graphed=True, machine=fast)), eager)
            yield {
                "what": f"{self._about}: losses in tf32 against fp32, in deviations",
                "apart": self._apart(fast),
            }
        yield self._row("two runs side by side, the sum of both", self._side_by_side(), eager)

    @property
    def _about(self) -> str:
        return f"{self.algo}, {self.env}, {self.preset}"

    def _row(self, what: str, steps: float, eager: float) -> Row:
        return {"what": f"{self._about}: {what}", "steps/s": steps, "over eager": steps / eager}

    def comes_to_rest(self) -> bool:
        """Whether the encoder stands still before the training ends."""
        steps = configured(find_algorithm(self.algo), self.preset, self.env).encoder.steps
        return 0 < steps < resolve(self.preset, self.env).training.steps

    def engine(
        self,
        seeds: Sequence[int] = SEEDS,
        *,
        graphed: bool | None = None,
        rests: bool = False,
        machine: Machine | None = None,
    ) -> Engine:
        """In the midst of an endless training, with an encoder that learns or is at rest."""
        device, family = prepare(machine or self.machine), find_family(self.env)
        algorithm = configured(find_algorithm(self.algo), self.preset, self.env)
        space = space_of(family, family.task_set().train)
        if algorithm.encoder.steps:
            algorithm = with_setting(algorithm, "encoder.steps", 1 if rests else ENDLESS)
        training = replace(resolve(self.preset, self.env).training, steps=ENDLESS)
        state = start(algorithm, training, space, seeds, device)
        state.step = 1
        return Engine(state, random_data(family, device), graphed=graphed)

    def _apart(self, fast: Machine) -> float:
        """The largest difference of a loss's mean over the last tenth of some steps, in its deviations there.

        Not in its own size: some losses are 0 in the mean.
        """
        ends: list[torch.Tensor] = []
        for machine in (self.machine, fast):
            engine = self.engine(machine=machine)
            engine.advance(COMPARED - COMPARED // 10)
            (last,) = engine.advance(COMPARED // 10)
            losses = [place for place, name in enumerate(last.names) if name.startswith("loss_")]
            ends.append(last.values[:, losses])  # [N, L, S]
        prepare(self.machine)
        exact, rounded = ends
        return float(((exact - rounded).mean(0).abs() / exact.std(0).clamp_min(1e-6)).max())

    def _side_by_side(self) -> float:
        """Steps a second of two processes together, each with its share of the threads."""
        context = multiprocessing.get_context("spawn")
        share: Any = Case(self.algo, self.env, self.preset, self.machine.shared_by(2))
        with ProcessPoolExecutor(2, context) as pool:
            return sum(pool.map(timed, [share, share]))


def timed(case: Case) -> float:
    """The rate of a case in its own process."""
    return rate(case.engine())


def rate(engine: Engine) -> float:
    """Steps a second once warm."""
    engine.advance(WARM)
    made, began = 0, _now(engine)
    while _now(engine) - began < SECONDS:
        engine.advance(WARM)
        made += WARM
    return made / (_now(engine) - began)


def _now(engine: Engine) -> float:
    if engine.state.noise.device.type == "cuda":
        torch.cuda.synchronize(engine.state.noise.device)
    return time.perf_counter()
