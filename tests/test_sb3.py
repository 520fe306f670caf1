"""The reference trainer: what it hands back, that it is reproducible, and that its agents learn."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from comrl.algorithms.behaviour import Behaviour
from comrl.algorithms.control_online import OnlineSac
from comrl.benchmark.generation.behaviour_sb3 import sb3_steps_per_second, train_task
from comrl.envs import find_family
from comrl.envs.family import Array
from comrl.envs.rollout import best_possible, rollout
from comrl.ground.errors import BadInput

FAMILY = find_family("sparse-point-robot")
TASKS = FAMILY.task_set(0)
OBS = np.random.default_rng(0).standard_normal((5, 2))


SMALL = Behaviour(
    steps=60,
    warmup_steps=20,
    batch=16,
    lr_schedule="constant",
    gamma=0.99,
    updates_per_step=1,
    checkpoint_every=20,
    seed=0,
    block=1,
    control=OnlineSac(width=16, depth=2, lr=1e-3, tau=0.005, initial_temperature=0.1, target_entropy=-2.0),
)


def with_values(control: Mapping[str, float] = MappingProxyType({}), **values: int) -> Behaviour:
    return replace(SMALL, **values, control=replace(SMALL.control, **control))


def actions(settings: Behaviour, task: int, seed: int) -> dict[int, tuple[Array, Array]]:
    """Each checkpoint's stochastic and mean actions at the same observations."""
    return {
        step: (sample(OBS), mean(OBS))
        for step, sample, mean in train_task(FAMILY, TASKS, task, settings, seed)
    }


def test_it_hands_back_the_untrained_policy_and_every_checkpoint() -> None:
    trained = actions(SMALL, task=3, seed=0)
    assert list(trained) == [0, 20, 40, 60]
    for sample, mean in trained.values():
        for action in (sample, mean):
            assert action.shape == (5, 2)
            assert action.dtype == np.float64
            assert np.abs(action).max() < 1.0
        assert np.abs(sample - mean).max() > 0.01
    np.testing.assert_array_equal(trained[0][1], trained[20][1])  # the random steps train nothing
    assert np.abs(trained[20][1] - trained[60][1]).max() > 1e-4


def test_the_same_seed_gives_the_same_agent_whatever_happens_around_it() -> None:
    first = actions(SMALL, task=3, seed=0)
    agent = train_task(FAMILY, TASKS, 3, SMALL, 0)
    other = train_task(FAMILY, TASKS, 4, SMALL, 0)
    for (step, sample, mean), (_, their_sample, their_mean) in zip(agent, other, strict=True):
        np.random.random(3)  # the caller's own use of the global generators
        torch.rand(3)
        np.testing.assert_array_equal(sample(OBS), first[step][0])
        np.testing.assert_array_equal(mean(OBS), first[step][1])
        assert np.abs(their_sample(OBS) - first[step][0]).max() > 1e-3
        assert np.abs(their_mean(OBS) - first[step][1]).max() > 1e-3


def test_seeds_differ() -> None:
    assert np.abs(actions(SMALL, 3, 0)[60][1] - actions(SMALL, 3, 1)[60][1]).max() > 1e-3


def test_the_callers_generators_are_left_alone() -> None:
    def drawn(train: bool) -> tuple[float, float, float]:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        if train:
            actions(SMALL, task=0, seed=0)
        return random.random(), float(np.random.random()), float(torch.rand(1))

    assert drawn(train=True) == drawn(train=False)


def test_a_checkpoint_keeps_its_policy_while_training_goes_on() -> None:
    kept = [(mean, mean(OBS)) for _, _, mean in train_task(FAMILY, TASKS, 3, SMALL, 0)]
    for mean, then in kept:
        np.testing.assert_array_equal(mean(OBS), then)


def test_samples_are_the_squashed_gaussian_around_the_mean() -> None:
    _, sample, mean = next(train_task(FAMILY, TASKS, 3, SMALL, 0))
    drawn = np.arctanh(sample(np.zeros((20_000, 2))))
    centre = np.arctanh(mean(np.zeros((1, 2)))[0])
    np.testing.assert_allclose(drawn.mean(0), centre, atol=0.05)
    np.testing.assert_allclose(
        drawn.std(0), 1.0, atol=0.2
    )  # an untrained log standard deviation is near zero
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03


def test_learning_leaves_no_temporary_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert len(actions(SMALL, task=3, seed=0)) == 4
    assert not list(tmp_path.iterdir())


def test_settings_reach_the_agent() -> None:
    from comrl.benchmark.generation.behaviour_sb3 import make_agent

    settings = with_values({"initial_temperature": 0.3, "target_entropy": -1.5}, updates_per_step=2)
    agent = make_agent(FAMILY, TASKS, 3, settings, 0)
    assert (agent.batch_size, agent.gamma, agent.tau, agent.learning_rate) == (16, 0.99, 0.005, 1e-3)
    assert (agent.learning_starts, agent.gradient_steps, agent.target_entropy) == (20, 2, -1.5)
    assert agent.log_ent_coef is not None
    np.testing.assert_allclose(agent.log_ent_coef.exp().item(), 0.3, rtol=1e-6)
    assert [m.out_features for m in agent.actor.latent_pi if hasattr(m, "out_features")] == [16, 16]
    agent.learn(30)
    assert agent._n_updates == 20


def test_only_a_declared_family_can_be_timed() -> None:
    with pytest.raises(BadInput, match="declare it"):
        sb3_steps_per_second(replace(FAMILY, name="point-robot-wind"), TASKS, SMALL, steps=5)


@pytest.mark.slow
def test_two_processes_make_steps_at_some_speed() -> None:
    speed = sb3_steps_per_second(FAMILY, TASKS, SMALL, steps=100)
    half = sb3_steps_per_second(FAMILY, TASKS, with_values(updates_per_step=4), steps=100)
    assert 10.0 < half < 0.7 * speed  # four updates a step take longer than one


@pytest.mark.slow
def test_a_real_agent_learns_its_task() -> None:
    settings = with_values({"width": 64}, steps=2000, warmup_steps=400, batch=128, checkpoint_every=1000)
    params, seeds = TASKS.params[30:31], np.zeros(1, dtype=np.int64)
    best = best_possible(FAMILY, params)
    assert best is not None
    returns = [
        float(rollout(FAMILY, params, mean, seeds).reward.sum())
        for _, _, mean in train_task(FAMILY, TASKS, 30, settings, 0)
    ]
    assert returns[0] < -12.0
    assert returns[-1] > best["dense"][0] - 1.0
