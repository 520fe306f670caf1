"""Stacks of runs at their start or after a few steps, random batches for them, and a toy family."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.algorithms.algorithm import Algorithm, Evidence, Space, Training
from comrl.algorithms.belief import Belief
from comrl.algorithms.learner import State, start, update
from comrl.benchmark.protocol import configured, part_settings, resolve, with_setting
from comrl.datasets.sampler import Sampler
from comrl.datasets.splits import SplitData
from comrl.datasets.transitions import MetaBatch, Transitions
from comrl.envs import Score, TaskFamily
from comrl.envs.family import Array, sparsify
from comrl.envs.rollout import rollout
from comrl.ground.noise import Stream

CPU = torch.device("cpu")
SEEDS = (4, 2)
SIZES = (4, 6, 5)  # M, K, B
SPACE = Space(obs=3, action=2, params=2, next_obs_in_context=True, tasks=(0, 1, 2, 3, 4))


# by a change's first word
ROOTS = {"encoder": "encoder", "attention": "encoder", "teacher": "teacher", "generator": "generator"}
ELSEWHERE = {  # where a plain name is not meant
    "width": ("encoder", "teacher."), "depth": ("encoder", "generator."),
    "prior_weight": ("control", "teacher.", "generator."),
}  # fmt: skip
SHARED = {one.name for one in fields(Training)}


def shared(**changes: Any) -> Training:
    """The smoke preset's protocol with some of it changed."""
    return resolve("smoke", "toy", {f"training.{name}": value for name, value in changes.items()}).training


def settle(algorithm: Algorithm, **changes: Any) -> tuple[Algorithm, Training]:
    """The algorithm and the protocol at smoke with changes wherever they are read.

    `encoder_steps` and `teacher_width` change a part's own; other names change every part that has them, but
    for the encoder's and the teachers' steps and widths.
    """
    chosen = configured(algorithm, "smoke", "toy")
    for name, value in changes.items():
        if name in SHARED:
            continue
        word, _, rest = name.partition("_")
        root, leaf = (ROOTS[word], rest) if word in ROOTS else ("", name)
        elsewhere = ELSEWHERE.get(leaf, ("-",))
        for one in part_settings(chosen):
            meant = one.path.startswith(root) if root else not one.path.startswith(elsewhere)
            if one.name == leaf and meant:
                chosen = with_setting(chosen, one.path, value)
    return chosen, shared(**{name: value for name, value in changes.items() if name in SHARED})


def begin(
    algorithm: Algorithm, space: Space = SPACE, seeds: tuple[int, ...] = SEEDS, **changes: Any
) -> State:
    """A stack of seeds at step 0, at smoke with changes."""
    return start(*settle(algorithm, **changes), space, seeds, CPU)


def begun(algorithm: Algorithm, space: Space = SPACE, **changes: Any) -> tuple[State, MetaBatch]:
    """A stack after a few steps, so that nothing sits at its start, and a batch."""
    state, sampler = begin(algorithm, space, SEEDS, **changes), random_sampler(space)
    for _ in range(3):
        update(state, sampler.meta_batch(state.noise, torch.arange(5), SIZES))
    return state, sampler.meta_batch(state.noise, torch.arange(5), SIZES)


def reached(state: State, loss: Tensor) -> set[str]:
    """The networks that a loss has a gradient for."""
    found = set()
    for name, net in state.nets.items():
        params = list(net.parameters())
        gradients = (
            torch.autograd.grad(loss.sum(), params, retain_graph=True, allow_unused=True) if params else ()
        )
        if any(gradient is not None for gradient in gradients):
            assert any(gradient is not None and bool(gradient.any()) for gradient in gradients), name
            found.add(name)
    return found


def evidence(query: Belief, key: Belief) -> Evidence:
    """Two beliefs and nothing else for a task loss to look at."""
    nothing: Any = None
    return Evidence(query, key, nothing, {}, lambda context: context.obs, Stream([0]), nothing)


def random_split(tasks: int, rows: list[int], obs: int, action: int, seed: int = 0) -> SplitData:
    """Tasks of different counts of random rows; what pads them is nan, so that nothing can draw it unseen."""
    draw, most = np.random.default_rng(seed), max(rows)
    fields = [
        draw.normal(size=(tasks, most, *shape)).astype(np.float32)
        for shape in ((obs,), (action,), (), (obs,))
    ]
    data = Transitions(*fields, draw.random((tasks, most)) < 0.1)
    padding = np.arange(most) >= np.array(rows)[:, None]  # [T, N]
    for field in fields:
        field[padding] = np.nan
    context_reward = sparsify(data.reward.astype(np.float64), -0.2).astype(np.float32)
    context_reward[padding] = np.nan
    return SplitData(data, np.array(rows), context_reward, -0.2)


def random_sampler(space: Space = SPACE, tasks: int = 6, seed: int = 0) -> Sampler:
    """A sampler of random rows in torch's default precision."""
    data = random_split(tasks, [20 + 7 * task for task in range(tasks)], space.obs, space.action, seed)
    params = np.random.default_rng(seed).normal(size=(tasks, space.params))
    sampler = Sampler(data, params, space, CPU)
    sampler.packed = sampler.packed.to(torch.get_default_dtype())
    sampler.params = sampler.params.to(torch.get_default_dtype())
    return sampler


class ToySimulator:
    """Points in the plane that start anywhere."""

    def __init__(self, params: Array) -> None:
        self.position = np.zeros_like(params)

    def reset(self, seeds: NDArray[np.int64], which: NDArray[np.bool_] | None = None) -> Array:
        again = np.ones(len(seeds), dtype=bool) if which is None else which
        starts = np.array([np.random.default_rng(seed).uniform(-1, 1, 2) for seed in seeds])
        self.position = np.where(again[:, None], starts, self.position)
        return self.position

    def step(self, action: Array) -> tuple[Array, NDArray[np.bool_]]:
        self.position = np.clip(self.position + 0.4 * action, -1.5, 1.5)
        return self.position, np.zeros(len(action), dtype=bool)


def toy_goals() -> Array:
    """Eight goals on the unit circle."""
    angle = 2 * np.pi * np.arange(8) / 8
    return np.stack([np.cos(angle), np.sin(angle)], -1)


TOY = TaskFamily(
    name="toy",
    label="Toy",
    obs_dim=2,
    action_dim=2,
    horizon=8,
    param_names=("x", "y"),
    train_tasks=6,
    test_tasks=2,
    sample_params=toy_goals,
    simulator=ToySimulator,
    reward=lambda obs, action, next_obs, params: -np.linalg.norm(next_obs - params, axis=-1),
    scores=(Score("dense", "dense return", lambda reward: reward),),
)


def toy_sampler(episodes: int = 60) -> Sampler:
    """Episodes of every toy task, half of them random, half on their way to the goal with some noise."""
    draw, params = np.random.default_rng(0), toy_goals()
    rows = np.repeat(params, episodes, 0)
    able = (np.arange(len(rows)) % 2 == 0)[:, None]

    def act(obs: Array) -> Array:
        noise = draw.uniform(-1, 1, obs.shape)
        return np.where(able, np.clip(2 * (rows - obs) + 0.5 * noise, -1, 1), noise)

    played = rollout(TOY, rows, act, np.arange(len(rows)))
    fields = [field.reshape(8, -1, *field.shape[2:]) for field in played[:5]]
    data = Transitions(*(field.astype(np.float32) for field in fields[:4]), fields[4])
    split = SplitData(data, np.full(8, data.reward.shape[1]), data.reward, None)
    return Sampler(split, params, Space(2, 2, 1, False), CPU)
