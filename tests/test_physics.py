"""Simulated bodies: each world is a plain loop over its own model, whatever its company and the threads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from scipy import stats
from support.body_oracle import World
from support.families import DISTINCT, each
from support.golden_rollouts import FILE, golden

from comrl.benchmark.generation import generate
from comrl.benchmark.protocol import resolve
from comrl.datasets.birth import Birth
from comrl.datasets.store import task_file
from comrl.envs import TaskFamily, families, find_family
from comrl.envs.ant import ANT
from comrl.envs.cheetah import CHEETAH
from comrl.envs.family import Array
from comrl.envs.hopper import HOPPER
from comrl.envs.physics import Body, Physics, compiled
from comrl.envs.randomised import BASES
from comrl.envs.walker import WALKER
from comrl.ground import machine
from comrl.ground.errors import BadInput

SIMULATED = [family for family in families() if family.model_sha256]
every_family = each(DISTINCT, SIMULATED)
every_body = pytest.mark.parametrize("body", [CHEETAH, ANT, WALKER, HOPPER], ids=lambda body: body.asset)
falling = each(DISTINCT, [f for f in SIMULATED if f.simulator(f.sample_params()[:1]).body.fell])
randomised = pytest.mark.parametrize(
    ("name", "tasks", "body"), [("walker-2d-params", 25, WALKER), ("hopper-params", 40, HOPPER)]
)
WORLDS = 5


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MuJoCo writes its warnings into the folder where it runs."""
    monkeypatch.chdir(tmp_path)
    yield


def some_tasks(family: TaskFamily) -> Array:
    """Five worlds of the first, the last and tasks in between: [5, P]."""
    return family.sample_params()[np.linspace(0, family.tasks - 1, WORLDS).round().astype(int)]


def random_actions(family: TaskFamily, steps: int, seed: int = 0) -> Array:
    """Somewhat beyond the box: [T, 5, A]."""
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (steps, WORLDS, family.action_dim))


def play(worlds: Physics, actions: Array, seeds: Array | None = None) -> tuple[Array, Array]:
    """Observations from the start on, and falls: [T + 1, N, O], [T, N]."""
    obs, falls = [worlds.reset(np.arange(actions.shape[1]) if seeds is None else seeds)], []
    for action in actions:
        next_obs, fell = worlds.step(action)
        obs.append(next_obs)
        falls.append(fell)
    return np.stack(obs), np.stack(falls)


# --- against the plain loop


@every_family
def test_every_world_is_the_plain_loop_over_its_own_model(family: TaskFamily) -> None:
    """Observations and falls exactly, rewards to the last digits."""
    params, actions = some_tasks(family), random_actions(family, 60)
    obs, falls = play(family.simulator(params), actions)
    reward = family.reward(obs[:-1], np.clip(actions, -1, 1), obs[1:], params)  # [T, N]
    for n in range(WORLDS):
        world = World(family.name, params[n].tolist())
        np.testing.assert_array_equal(obs[0, n], world.reset(n))
        for step, action in enumerate(actions[:, n]):
            expected, expected_reward, fell = world.step(action)
            np.testing.assert_array_equal(obs[step + 1, n], expected)
            assert reward[step, n] == pytest.approx(expected_reward, rel=1e-12, abs=1e-12)
            assert falls[step, n] == fell
            if fell:
                break
    assert np.abs(obs[-1] - obs[0]).max() > 0.1


@every_family
def test_the_numbers_do_not_depend_on_the_threads(
    family: TaskFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_threads", machine._threads)  # put back afterwards
    played = []
    for threads in (1, 2, 3):
        machine.use_threads(threads)
        worlds = family.simulator(some_tasks(family))
        assert worlds.batch.nthread == threads
        played.append(play(worlds, random_actions(family, 30)))
    for obs, falls in played[1:]:
        np.testing.assert_array_equal(obs, played[0][0])
        np.testing.assert_array_equal(falls, played[0][1])


def test_the_physics_are_those_of_the_golden_rollouts() -> None:
    """To 1e-6: other last bits of a start make 2e-10 of 25 steps, so another CPU's arithmetic passes."""
    then, now = json.loads(FILE.read_text()), golden()
    assert then["families"].keys() == now["families"].keys(), "run support.golden_rollouts"
    same_version = then["mujoco"] == now["mujoco"]
    for name, expected in then["families"].items():
        found = now["families"][name]
        said = (
            f"the physics of {name} changed: data and results made before are of another world.  The golden "
            f"rollouts were made with MuJoCo {then['mujoco']}, this is {now['mujoco']}.  If it is meant, "
            "say so in docs/CHANGELOG.md and remake them with `cd tests && python -m support.golden_rollouts`"
        )
        for what in ("observations", "rewards"):
            np.testing.assert_allclose(found[what], expected[what], rtol=1e-6, atol=1e-6, err_msg=said)
        assert found["model"] == expected["model"] or not same_version, said


# --- the models


def test_models_are_those_of_the_paper() -> None:
    cheetah, ant, two_legs = (compiled(body)[0] for body in (CHEETAH, ANT, WALKER))
    assert cheetah.body_mass.sum() == pytest.approx(14.0, rel=1e-12)
    assert [model.opt.timestep for model in (cheetah, ant, two_legs)] == [0.01, 0.01, 0.004]
    assert [body.dt for body in (CHEETAH, ANT, WALKER)] == pytest.approx([0.05, 0.05, 0.016])
    assert two_legs.geom("foot_geom").friction[0] == 0.9
    assert two_legs.geom("foot_left_geom").friction[0] == 1.9
    assert two_legs.geom("floor").friction.tolist() == [0.7, 0.1, 0.1]
    rk4 = mujoco.mjtIntegrator.mjINT_RK4
    assert ant.opt.integrator == two_legs.opt.integrator == rk4
    assert set(ant.actuator_gear[:, 0]) == {150.0} and set(two_legs.actuator_gear[:, 0]) == {100.0}


def test_the_hopper_has_the_fields_time_step_and_its_grip() -> None:
    """rand_param_envs, which PEARL and its successors share: 0.004 where gymnasium has 0.002."""
    model = compiled(HOPPER)[0]
    assert (model.opt.timestep, HOPPER.dt) == (0.004, pytest.approx(0.016))
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
    assert set(model.actuator_gear[:, 0]) == {200.0}
    assert (model.geom("foot_geom").friction[0], model.geom("leg_geom").friction[0]) == (2.0, 0.9)
    assert len(find_family("hopper-params").param_names) == 5 + 15 + 15 + 6


@randomised
def test_a_tasks_fields_are_its_own_and_the_model_stays_as_it_is(name: str, tasks: int, body: Body) -> None:
    model = compiled(body)[0]
    before = {field: getattr(model, field).copy() for field in BASES}
    family = find_family(name)
    params = some_tasks(family)
    worlds = family.simulator(params)
    play(worlds, random_actions(family, 3))
    names = iter(family.param_names)
    for n in range(WORLDS):
        own, at = worlds.batch.get_model(n), iter(params[n].tolist())
        for field, base in (
            ("body_mass", 1.5),
            ("body_inertia", 1.5),
            ("geom_friction", 1.5),
            ("dof_damping", 1.3),
        ):
            for now, then in zip(getattr(own, field).flat, before[field].flat, strict=True):
                assert now == then * float(np.float32(math.pow(base, next(at))))
                assert n > 0 or next(names).startswith(f"{field} ")
        assert next(at, None) is None
    for field, then in before.items():
        np.testing.assert_array_equal(getattr(model, field), then)


@randomised
def test_the_tasks_are_stored_draws(name: str, tasks: int, body: Body) -> None:
    family = find_family(name)
    params = family.sample_params()
    assert params.shape[0] == tasks and np.abs(params).max() <= 3
    assert stats.kstest(params.ravel(), stats.uniform(-3, 6).cdf).pvalue > 0.01
    assert len(set(family.param_names)) == len(family.param_names)


def test_speeds_are_the_authors() -> None:
    for name in ("sparse-cheetah-vel", "cheetah-vel"):
        first = find_family(name).sample_params()[:5, 0]
        np.testing.assert_allclose(first, [0.786, 0.476, 0.834, 1.378, 0.963], atol=5e-4)


def test_directions_are_uniform_on_the_circle() -> None:
    params = find_family("ant-dir").sample_params()
    assert params.shape == (40, 2)
    np.testing.assert_allclose(np.hypot(*params.T), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(params, params.astype(np.float32))  # alike on every processor
    turns = np.arctan2(params[:, 1], params[:, 0]) / (2 * np.pi) % 1.0
    assert stats.kstest(turns, stats.uniform.cdf).pvalue > 0.01
    assert len(np.unique(np.floor(4 * turns))) == 4


def test_dense_contexts_alone_tell_a_family_from_its_sparse_sibling() -> None:
    """Same physics, reward and behaviour agents; where tasks are fewer they are the sibling's first."""
    for dense, sparse in (("cheetah-dir", "sparse-cheetah-dir"), ("cheetah-vel", "sparse-cheetah-vel")):
        plain, other = find_family(dense), find_family(sparse)
        assert plain.radius is None and other.radius is not None
        assert (plain.reward, plain.simulator) == (other.reward, other.simulator)
        np.testing.assert_array_equal(plain.sample_params(), other.sample_params()[: plain.tasks])
        blocks = (replace(resolve("lite", name).behaviour, block=1) for name in (dense, sparse))
        assert next(blocks) == next(blocks)


# --- starts and falls


@every_body
def test_starts_have_the_papers_noise(body: Body) -> None:
    worlds = Physics(body, 300)
    worlds.reset(np.arange(300))
    moved, speed = worlds.qpos - worlds.model.qpos0, worlds.qvel.copy()
    stands = body in (WALKER, HOPPER)
    size = 0.005 if stands else 0.1
    assert size * 0.95 < np.abs(moved).max() <= size * (1 + 1e-9)
    assert stats.kstest(moved.ravel(), stats.uniform(-size, 2 * size).cdf).pvalue > 0.01
    law = stats.uniform(-size, 2 * size) if stands else stats.norm(0, 0.1)
    assert stats.kstest(speed.ravel(), law.cdf).pvalue > 0.01
    worlds.reset(np.arange(300))
    np.testing.assert_array_equal(worlds.qvel, speed)


@every_family
def test_a_reset_of_some_restarts_only_them_as_if_new(family: TaskFamily) -> None:
    params, actions, seeds = some_tasks(family), random_actions(family, 20), np.arange(WORLDS) + 50
    which = np.array([False, True, False, True, False])
    whole, _ = play(family.simulator(params), np.concatenate([actions, actions]))
    fresh, _ = play(family.simulator(params), actions, seeds)
    worlds = family.simulator(params)
    before = play(worlds, actions)[0][-1]
    obs = worlds.reset(seeds, which)
    np.testing.assert_array_equal(obs[~which], before[~which])
    for step in range(len(actions) + 1):
        np.testing.assert_array_equal(obs[which], fresh[step][which])
        np.testing.assert_array_equal(obs[~which], whole[20 + step][~which])
        obs = worlds.step(actions[step])[0] if step < len(actions) else obs


@falling
def test_the_fallen_lie_still_until_reset_and_their_neighbours_go_on(family: TaskFamily) -> None:
    params, actions = some_tasks(family), 0.1 * random_actions(family, 12)
    undisturbed, _ = play(family.simulator(params), actions)
    worlds = family.simulator(params)
    worlds.reset(np.arange(WORLDS))
    root = worlds.body.root
    worlds.qpos[2, root : root + 2] = 5.0  # high above where a torso may be, and turned over
    lying, others = None, [0, 1, 3, 4]
    for step, action in enumerate(actions):
        obs, fell = worlds.step(action)
        assert fell.tolist() == [False, False, step == 0, False, False]
        lying = obs[2].copy() if lying is None else lying
        np.testing.assert_array_equal(obs[2], lying)
        np.testing.assert_array_equal(obs[others], undisturbed[step + 1][others])
    again = worlds.reset(np.arange(WORLDS), np.arange(WORLDS) == 2)
    np.testing.assert_array_equal(again[2], undisturbed[0, 2])
    np.testing.assert_array_equal(worlds.step(actions[0])[0][2], undisturbed[1, 2])


def test_walkers_and_hoppers_fall_within_an_episode_and_cheetahs_never() -> None:
    for family in SIMULATED:
        _, falls = play(family.simulator(some_tasks(family)), random_actions(family, 200))
        assert (falls.sum(0) <= 1).all()
        if family.name.endswith("-params"):
            assert falls.any(0).all()
        if "cheetah" in family.name:
            assert not falls.any()


# --- divergence


@every_family
def test_a_world_that_diverges_is_nan_and_the_others_do_not_feel_it(
    family: TaskFamily, subtests: pytest.Subtests
) -> None:
    for state in (1e30, np.nan):
        with subtests.test(state=state):
            params, actions = some_tasks(family), 0.1 * random_actions(family, 6)
            undisturbed, _ = play(family.simulator(params), actions)
            worlds = family.simulator(params)
            worlds.reset(np.arange(WORLDS))
            worlds.qvel[1, 0] = state
            others, ended = [0, 2, 3, 4], np.zeros(WORLDS, dtype=int)
            for step, action in enumerate(actions):
                obs, fell = worlds.step(action)
                ended += fell
                assert np.isnan(obs[1]).all()
                assert np.isnan(family.reward(obs, action, obs, params)[1])
                np.testing.assert_array_equal(obs[others], undisturbed[step + 1][others])
            assert ended.tolist() == [0, int(worlds.body.fell is not None), 0, 0, 0]
            np.testing.assert_array_equal(
                worlds.reset(np.arange(WORLDS), np.arange(WORLDS) == 1)[1], undisturbed[0, 1]
            )
            np.testing.assert_array_equal(worlds.step(actions[0])[0][1], undisturbed[1, 1])


class Fragile(Physics):
    """The cheetahs that run backwards diverge in the rollouts after training."""

    made = 0

    def __init__(self, params: Array) -> None:
        super().__init__(CHEETAH, len(params))
        Fragile.made += 1
        self.breaks = (params[:, 0] < 0) & (
            Fragile.made > 3
        )  # the agents', then two rollouts of the untrained

    def step(self, action: Array) -> tuple[Array, Any]:
        self.qvel[self.breaks] = np.nan
        return super().step(action)


def test_a_task_that_diverges_is_named_and_its_neighbours_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheetah = replace(find_family("sparse-cheetah-dir"), horizon=10)
    numbers = {"steps": 40, "warmup_steps": 10, "checkpoint_every": 20, "seed": 4, "worlds": 2}
    protocol = resolve("smoke", cheetah.name, {f"behaviour.{name}": value for name, value in numbers.items()})
    birth = Birth("smoke", "stacked", 4, {}, {}, "model")

    def make(family: TaskFamily, folder: Path) -> Path:
        monkeypatch.setattr(generate, "find_family", lambda name: family)
        folder.mkdir()
        device = torch.device("cpu")
        order = generate.Block(
            family.name, folder, range(2), frozenset({0, 1}), protocol, birth, "stacked", device
        )
        generate.make_block(order, lambda steps: None)
        return folder

    whole = make(cheetah, tmp_path / "whole")
    said = rf"{cheetah.name} task 0 diverged by step 20 \(seed 4\)"
    with pytest.raises(BadInput, match=said):
        make(replace(cheetah, simulator=Fragile), tmp_path / "broken")
    assert not task_file(tmp_path / "broken", 0).exists()
    assert task_file(tmp_path / "broken", 1).read_bytes() == task_file(whole, 1).read_bytes()
