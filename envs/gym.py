"""Single tasks for gymnasium and its users: `gymnasium.make("comrl/SparsePointRobot-v0", task=3)`.

Gymnasium 1.0 and later loads no plug-ins, so a program imports this module first, or names it in the id:
`gymnasium.make("comrl.envs.gym:comrl/SparsePointRobot-v0", task=3)`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from comrl.envs.family import Array, TaskFamily, families, find_family, sparsify
from comrl.envs.plane import drawable, pictures
from comrl.ground.errors import BadInput

Observation = NDArray[np.float32]
Action = NDArray[np.float32]
RENDER_MODES = ("rgb_array",)


class SingleTask(gymnasium.Env[Observation, Action]):
    """One task of a family: dense reward; `terminated` says the world ended, the horizon is the wrapper's.

    Observations end before the root's position, unless `sees_position`.  A pickle or copy is the same task in
    the same state.  BadInput where the family has no pictures of that `render_mode`.
    """

    def __init__(
        self,
        family: TaskFamily,
        task: int,
        params: Array,
        sees_position: bool = False,
        render_mode: str | None = None,
    ) -> None:
        modes = [*RENDER_MODES] if drawable(family) else []
        if render_mode not in (None, *modes):
            remedy = f"there is {' '.join(modes)}" if modes else "leave it out: there is nothing to draw"
            raise BadInput(f"{family.name} has no render_mode {render_mode!r}; {remedy}")
        self.family, self.task, self.render_mode = family, task, render_mode
        self.metadata = {"render_modes": modes, "render_fps": frames_per_second(family)}
        self.seen = family.seen_dim(sees_position)
        self.params = params[None]  # [1, P]
        self.world = family.simulator(self.params)
        self.obs = np.zeros((1, family.obs_dim))  # [1, O]
        self.start: int | None = None
        """The seed from which the world of this episode starts; None before the first."""
        self.actions: list[Array] = []  # [1, A] each  since that start
        self.observation_space = Box(-np.inf, np.inf, (self.seen,), np.float32)
        self.action_space = Box(-1.0, 1.0, (family.action_dim,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; a seed is the world's own, as in `envs.rollout`, and fixes all later starts."""
        super().reset(seed=seed)
        self.start = int(self.np_random.integers(2**31)) if seed is None else seed
        self.actions = []
        self.obs = self.world.reset(np.array([self.start], dtype=np.int64))
        return self.obs[0, : self.seen].astype(np.float32), {"task": self.task}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Step the world; the encoder's view of the reward is `info["sparse_reward"]`. [focalpp eq. 35]"""
        chosen = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)[None]  # [1, A]
        self.actions.append(chosen)
        next_obs, fell = self.world.step(chosen)
        reward = self.family.reward(self.obs, chosen, next_obs, self.params)  # [1]
        self.obs = next_obs
        info = {"task": self.task, "sparse_reward": float(sparsify(reward, self.family.radius)[0])}
        return next_obs[0, : self.seen].astype(np.float32), float(reward[0]), bool(fell[0]), False, info

    def render(self) -> NDArray[np.uint8] | None:
        """The picture of where it is, under `render_mode="rgb_array"`; OSError where MuJoCo cannot draw here.

        -> [height, width, 3].
        """
        return None if self.render_mode is None else pictures(self.family, self.obs, self.params[0])[0]

    def __getstate__(self) -> dict[str, Any]:
        """All but the world, which its start and the actions since then make again."""
        return {name: value for name, value in vars(self).items() if name != "world"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin a world anew and bring it to where the other stood."""
        vars(self).update(state)
        self.world = self.family.simulator(self.params)
        if self.start is not None:
            self.world.reset(np.array([self.start], dtype=np.int64))
        for action in self.actions:
            self.world.step(action)


def frames_per_second(family: TaskFamily) -> int:
    """So many that an episode lasts about ten seconds, and a short one is no slide show."""
    return max(5, family.horizon // 10)


def single_task(
    family: str, task: int = 0, sees_position: bool = False, render_mode: str | None = None
) -> SingleTask:
    """A task by its family's name and its number; what the registry calls."""
    found = find_family(family)
    if not 0 <= task < found.tasks:
        raise BadInput(f"{family} has no task {task!r}; choose one from 0 to {found.tasks - 1}")
    return SingleTask(found, task, found.sample_params()[task], sees_position, render_mode)


def within_horizon(env: SingleTask) -> TimeLimit[Observation, Action]:
    """The task as `gymnasium.make` gives it: reaching the family's horizon truncates."""
    return TimeLimit(env, max_episode_steps=env.family.horizon)


def register_families() -> None:
    """Give every declared family its gymnasium id; a family that has one keeps it."""
    for family in families():
        if family.gym_id() not in gymnasium.registry:
            gymnasium.register(
                family.gym_id(),
                entry_point="comrl.envs.gym:single_task",
                max_episode_steps=family.horizon,
                kwargs={"family": family.name},
            )


register_families()  # gymnasium's convention: importing the module that it is told to import registers
