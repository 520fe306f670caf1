"""A small ledger made of synthetic numbers: every table and figure of the report can be made from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from comrl.benchmark.reporting.cards import PortraitCard, RunCard
from comrl.benchmark.reporting.ledger import SHIFTED, add_test, write_portrait, write_run
from comrl.benchmark.spec import PRIOR
from comrl.envs.family import find_family

TRAINING: dict[str, Any] = dict(
    steps=4000, eval_every=400, eval_episodes=2, meta_batch=16, context_batch=64, control_batch=64,
    test_context=400, latent=5, width=64, depth=3, encoder_width=64, encoder_depth=3, attention_width=32,
    attention_heads=4, attention_blocks=1, attention_reduction=16, dropout=0.1, encoder_lr=1e-3,
    actor_lr=1e-3, critic_lr=1e-3, lr_schedule="linear", discount=0.9, reward_scale=100.0, temperature=1.0,
    tau=0.005, relabeled_pool=10_000, strength=0.0, target_divergence=0.05, divergence_lr=1e-3,
)  # fmt: skip
MUJOCO_TRAINING = {"discount": 0.99, "reward_scale": 5.0, "latent": 20, "strength": 20.0}
SPLITS = ("expert", "medium", "random", "mixed")


@dataclass(frozen=True)
class Env:
    """A synthetic environment: how many tasks, what scores, how far algorithms lie apart on it."""

    name: str
    label: str
    train: int
    test: int
    scores: tuple[tuple[str, str], ...]
    best: float
    gap: float
    radius: float | None
    body: bool = False
    """A MuJoCo body: its states are no map, its optimum is unknown, it is filmed and falls."""
    together: bool = False
    """The test tasks are the training tasks."""
    other_radius: float | None = None

    @property
    def tasks(self) -> int:
        return self.train if self.together else self.train + self.test

    def task_set(self) -> dict[str, Any]:
        if self.together:
            everyone = list(range(self.tasks))
            directions = np.linspace(-1, 1, self.tasks)[:, None].tolist()
            return {"seed": 0, "train": everyone, "test": everyone, "params": directions}
        angle = np.linspace(0, np.pi, self.tasks)
        test = [round(i * self.tasks / self.test) for i in range(self.test)]
        train = [task for task in range(self.tasks) if task not in test]
        params = np.stack([np.cos(angle), np.sin(angle)], -1).round(6).tolist()
        return {"seed": 0, "train": train, "test": test, "params": params}


INSIDE = (("inside", "r + 1 inside the radius"), ("eq35", "sparse return, eq. 35"), ("dense", "dense return"))
GOALS = Env("sparse-point-robot", "Sparse-Point-Robot", 16, 4, INSIDE, 13.4, 4.0, -0.2)
WIND = Env("point-robot-wind", "Point-Robot-Wind", 8, 2, (("dense", "dense return"),), -5.1, 0.3, None)
DENSE = (("dense", "dense return"),)
MUJOCO = (
    Env("sparse-cheetah-dir", "Sparse-Cheetah-Fwd-Back", 2, 2, DENSE, 1500.4, 900.0, 6.0, True, True, 0.5),
    Env("sparse-ant-dir", "Sparse-Ant-Fwd-Back", 2, 2, DENSE, 760.2, 500.0, 3.0, True, True),
    Env("sparse-cheetah-vel", "Sparse-Cheetah-Vel", 24, 6, DENSE, -101.3, 140.0, -0.1, True),
    Env("walker-2d-params", "Walker-2D-Params", 20, 5, DENSE, 405.6, 170.0, None, True),
)


@dataclass(frozen=True)
class Algo:
    """A synthetic algorithm: how far it falls short of the best, in units of the environment's gap."""

    name: str
    label: str
    short: float
    role: str = "method"
    gate: bool = False


FOCAL = Algo("focal", "FOCAL", 0.4)
BATCH = Algo("focalpp-batch", "FOCAL++ (batch-wise)", 0.25, gate=True)
FOCALPP = Algo("focalpp", "FOCAL++", 0.12, gate=True)
ORACLE = Algo("oracle", "oracle", 0.05, role="upper")
BLIND = Algo("blind", "blind", 1.0, role="lower")
EVERY = (FOCAL, BATCH, FOCALPP, ORACLE, BLIND)


def make_ledger(results: Path, goals: Env = GOALS, wind: Env = WIND, draws: int = 6) -> Path:
    """Write the ledger: two environments mixed, one relabeled, two more splits for distribution shift."""
    for env in (goals, wind):
        write_portrait(results, *portrait(env))
        for algo in EVERY:
            add_run(results, env, algo, draws=draws)
    for algo in EVERY:
        add_run(results, goals, algo, split="relabeled", draws=draws)
    for algo in (FOCAL, FOCALPP):
        for split in ("expert", "medium"):
            add_run(results, goals, algo, split=split, contexts=("expert", "medium", "random"), draws=draws)
    return results


def add_mujoco(results: Path, draws: int = 6) -> Path:
    """Write runs and portraits of the four MuJoCo environments beside whatever is there."""
    for env in MUJOCO:
        write_portrait(results, *portrait(env))
        for algo in EVERY:
            contexts = ("mixed", "expert", "medium", "random")
            add_run(results, env, algo, contexts=contexts, training=MUJOCO_TRAINING, draws=draws)
    walker = MUJOCO[-1]
    for algo in (FOCAL, FOCALPP):
        contexts = ("expert", "medium", "random", "mixed")
        training = MUJOCO_TRAINING
        add_run(results, walker, algo, split="expert", contexts=contexts, training=training, draws=draws)
    return results


def add_run(
    results: Path,
    env: Env,
    algo: Algo,
    *,
    split: str = "mixed",
    contexts: tuple[str, ...] = (),
    preset: str = "lite",
    seeds: tuple[int, ...] = (0, 1, 2),
    training: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
    data: str = "",
    draws: int = 6,
) -> Path:
    """Write one run; its numbers follow from its name, seeds and overrides alone."""
    training = {**TRAINING, **(training or {})}
    training |= {key[9:]: value for key, value in (overrides or {}).items() if key.startswith("training.")}
    named = f"{env.name}{algo.name}{split}{seeds}{overrides or ''}"
    draw = np.random.default_rng([ord(letter) for letter in named])
    identity = f"{draw.integers(16**8):08x}"
    info = {
        "id": identity,
        "spec": {
            "env": env.name, "split": split, "preset": preset, "algo": algo.name, "seeds": list(seeds),
            "overrides": overrides or {},
        },
        "label": algo.label,
        "role": algo.role,
        "env_label": env.label,
        "algorithm": {"name": algo.name, "task_loss": {"temperature": 0.5, "momentum": 0.9}},
        "training": training,
        "horizon": 200 if env.body else 20,
        "scores": [list(score) for score in env.scores],
        "task_set": env.task_set(),
        "data_sha256": data or _data(env),
        "train_split_radius": -0.5 if split == "relabeled" else env.radius,
        "provenance": {"git": "0" * 40, "packages": {"numpy": np.__version__}, "threads": 1, "device": "cpu"},
        "cost": {
            "train_seconds": 60.0 + 100 * len(algo.name),
            "gradient_steps": training["steps"],
            "encoder_parameters": 0 if algo.role != "method" else 9000,
        },
    }  # fmt: skip
    final = _returns(draw, env, algo, seeds, contexts or (split,))
    probe = _probe(draw, env, algo, len(seeds), draws) if algo.role == "method" else {}
    curves, explored = _curves(draw, env, final, seeds, training), _explored(final, split)
    folder = write_run(results, RunCard.read(info), curves, final, probe, explored)
    if env.radius is not None:
        add_test(folder, SHIFTED, _shifted(env, final, split))
    return folder


def _data(env: Env) -> str:
    return (env.name.encode().hex() * 8)[:64]


def _returns(
    draw: Any, env: Env, algo: Algo, seeds: tuple[int, ...], contexts: tuple[str, ...]
) -> pd.DataFrame:
    rows = []
    hard = {task: draw.normal() * 0.1 for task in env.task_set()["test"]}
    for seed in seeds:
        luck = draw.normal() * 0.06
        for place, context in enumerate(contexts):
            for task, harder in hard.items():
                short = max(0.0, algo.short * (1 + 0.5 * place) + luck + 0.3 * harder)
                for episode in range(2):
                    row = {"seed": seed, "context": context, "task": task, "episode": episode}
                    values = {
                        name: env.best - env.gap * short - 2 * i for i, (name, _) in enumerate(env.scores)
                    }
                    rows.append(row | values)
    return pd.DataFrame(rows)


def _explored(final: pd.DataFrame, split: str) -> dict[str, pd.DataFrame]:
    """Trials of five episodes, the first two worse than the offline test and the others as good.

    By another rule the first seed alone was tested.
    """
    own = final[final["context"] == split].drop(columns="context").rename(columns={"episode": "trial"})
    scores = [name for name in own if name not in ("seed", "task", "trial")]
    episodes = [own.assign(episode=episode) for episode in range(5)]
    for worse in episodes[:2]:
        worse[scores] -= 1
    table = pd.concat(episodes, ignore_index=True)
    return {PRIOR: table, "best": table[table["seed"] == table["seed"].iloc[0]]}


def _shifted(env: Env, final: pd.DataFrame, split: str) -> pd.DataFrame:
    """The offline test's first episodes, worse by the distance of the behaviour's task."""
    own = final[(final["context"] == split) & (final["episode"] == 0)].drop(columns=["context", "episode"])
    scores = [name for name in own if name not in ("seed", "task")]
    others = []
    for distance in range(min(4, env.train)):
        other = own.assign(
            behaviour=(own["task"] + distance) % (env.train + env.test), distance=float(distance)
        )
        other[scores] -= 0.1 * env.gap * distance
        others.append(other)
    return pd.concat(others, ignore_index=True)


def _curves(
    draw: Any, env: Env, final: pd.DataFrame, seeds: tuple[int, ...], training: dict[str, Any]
) -> pd.DataFrame:
    rows = []
    for seed in seeds:
        own = final[(final["seed"] == seed) & (final["context"] == final["context"].iloc[0])]
        for step in range(0, training["steps"] + 1, training["eval_every"]):
            done = 1 - np.exp(-4 * step / training["steps"])
            noise = draw.normal() * 0.03 * env.gap
            scores = {
                name: own[name].mean() * 1.0 - (1 - done) * 2 * env.gap + noise for name, _ in env.scores
            }
            learned = {"loss_critic": 1 - done, "loss_task": 1 - done / 2, "mean_q": 10 * done}
            learned["accuracy"] = done
            rows.append({"seed": seed, "step": step, **scores, **learned})
    return pd.DataFrame(rows)


def _probe(draw: Any, env: Env, algo: Algo, seeds: int, draws: int) -> dict[str, Any]:
    latent, tasks = TRAINING["latent"], env.tasks
    turn = np.linspace(0, 3, tasks)[:, None] + np.arange(latent)
    noise = draw.normal(size=(seeds, tasks, draws, latent)) * (0.02 + 0.05 * algo.short)
    probe: dict[str, Any] = {"z": np.tanh(np.cos(turn)[None, :, None] + noise).astype(np.float32)}
    if env.body:
        probe |= _film(env, seeds)
    probe["theorem31"] = np.repeat(draw.uniform(1, 2, (seeds, 1)), 2, axis=1)
    probe["theorem32"] = np.sort(draw.uniform(1, 2, (seeds, 3)), axis=1)
    if env.radius is None:
        return probe
    ratio = np.linspace(0, 0.95, 8)
    gain = 1 - 0.6 * algo.gate * ratio**2 + 0.15 * algo.gate
    probe["sparsity_ratio"] = ratio
    probe["sparsity_variance"] = 1e-3 * gain / (1.02 - ratio) * draw.uniform(0.9, 1.1, (seeds, 1))
    probe["var_nonsparse"] = draw.uniform(0.02, 0.03, seeds) * (env.radius < 5)
    probe["var_sparse"] = draw.uniform(0.01, 0.02, seeds)
    if algo.gate:
        absolute = draw.random((seeds, 600)) < (
            1.0 if env.radius > 5 else 0.4
        )  # no reward at all, as it happens
        nonzero = ~absolute & (draw.random((seeds, 600)) < 0.5)
        weight = draw.gamma(3 + 9 * nonzero, 0.2 * (1 + nonzero) - 0.1 * absolute)
        weight = weight / weight.mean(1, keepdims=True)
        probe |= {"gate_weight": weight, "gate_nonzero": nonzero, "gate_absolute": absolute}
    return probe


def _film(env: Env, seeds: int) -> dict[str, Any]:
    """Bodies that shake for half a second."""
    family = find_family(env.name)
    tasks = env.task_set()["test"][:: env.test - 1]
    worlds = family.simulator(family.task_set().params[tasks])
    obs = [worlds.reset(np.arange(2))]
    for step in range(22):
        obs.append(worlds.step(np.full((2, family.action_dim), 0.4 * (-1) ** (step // 3)))[0])
    shown = np.stack(obs, 1)[:, ::2].astype(np.float32)  # [2, F, O]
    steps = np.arange(0, 23, 2)
    return {
        "film_obs": np.repeat(shown[None], seeds, 0),
        "film_steps": np.tile(steps, (seeds, 2, 1)),
        "film_tasks": np.tile(tasks, (seeds, 1)),
    }


def portrait(env: Env) -> tuple[PortraitCard, dict[str, Any]]:
    """A data set's portrait: paths that leave the origin for a goal, straighter the better the split."""
    draw = np.random.default_rng(len(env.name))
    headed = np.array(env.task_set()["params"])
    arrays: dict[str, Any] = {"heading": headed, "checkpoint_steps": np.arange(0, 2001, 250)}
    for i, (name, _) in enumerate(env.scores):
        arrays[f"best_{name}"] = env.best - 2 * i + 0.2 * draw.normal(size=env.tasks)
        for split, short in zip(SPLITS, (0.1, 0.8, 2.5), strict=False):
            returns = env.best - 2 * i - env.gap * short * draw.gamma(4, 0.25, (env.tasks, 12))
            arrays[f"return_{split}_{name}"] = returns
        parts = [arrays[f"return_{split}_{name}"] for split in SPLITS[:-1]]
        arrays[f"return_mixed_{name}"] = np.concatenate(parts, 1)
    missed = np.exp(-arrays["checkpoint_steps"] / 300) * draw.uniform(10, 20, (env.tasks, 1))
    missed = missed + draw.gamma(1, 0.03, missed.shape)
    scale = 0.05 * env.gap if env.body else 1.0
    arrays["checkpoint_returns"] = arrays["best_dense"][:, None] - scale * missed
    info: dict[str, Any] = {
        "env": env.name, "env_label": env.label, "sha256": _data(env), "preset": "lite", "trainer": "stacked",
        "task_set": env.task_set(), "scores": [list(score) for score in env.scores],
        "generation_seconds": 120.5, "episodes": 12, "transitions": dict.fromkeys(SPLITS, 240),
    }  # fmt: skip
    if env.radius is not None:
        info["nonsparse_rate"] = dict(zip(SPLITS, (0.71, 0.38, 0.02, 0.37), strict=True))
    if env.other_radius is not None:
        info["nonsparse_rate_at"] = {split: [[env.other_radius, 0.6]] for split in SPLITS}
    if env.body:
        info["fewest_transitions"] = dict.fromkeys(SPLITS, 130)
        del arrays["heading"]
        return PortraitCard.read(info), {
            name: values for name, values in arrays.items() if not name.startswith("best_")
        }
    for split, noise in zip(SPLITS, (0.03, 0.15, 0.5, 0.25), strict=True):
        along = np.clip(draw.uniform(0, 1.3, (env.tasks, 60, 1)), 0, 1)
        wander = draw.normal(size=(env.tasks, 60, 2)) * noise
        arrays[f"states_{split}"] = (along * headed[:, None] + wander).astype(np.float32)
    if env.radius is not None:
        pool = arrays["states_mixed"].reshape(-1, 2)
        chosen = np.linspace(0, env.tasks - 1, 5).astype(int)
        near = 0.5 - np.linalg.norm(pool[None] - headed[:, None], axis=-1)
        reward = np.clip(near / 0.5, 0, None)
        arrays |= {"pool_states": pool, "pool_absolute": (reward == 0).all(0), "pool_reward": reward[chosen]}
        arrays["pool_tasks"] = chosen
    return PortraitCard.read(info), arrays
