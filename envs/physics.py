"""One threaded batch of MuJoCo simulations: any mixture of a family's tasks steps in one call."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comrl.envs.engine import Batch, mujoco
from comrl.envs.family import Array
from comrl.ground.machine import threads

_W = mujoco.mjtWarning
DIVERGED = [int(kind) for kind in (_W.mjWARN_BADQPOS, _W.mjWARN_BADQVEL, _W.mjWARN_BADQACC)]
"""What MuJoCo counts when it gives up on a state and starts that simulation over."""


@dataclass(frozen=True)
class Body:
    """A model that gymnasium ships, how it is adjusted, and what a family reads from its state.

    An observation is `qpos` without the root's position, then `qvel`, then that position: [nq - P + nv + P'].
    """

    asset: str
    timestep: float
    frame_skip: int
    root: int
    """How many leading numbers of `qpos` say where the body is."""
    reset_qpos: float
    """Half-width of the uniform noise on the first positions."""
    reset_qvel: Callable[[np.random.Generator, int], Array]
    """The first velocities, nv of them."""
    fell: Callable[[Array], NDArray[np.bool_]] | None = None
    """Whether the body has fallen: [N, O] -> [N]."""
    clip_qvel: float = np.inf
    """Observed velocities stay within this."""

    @property
    def dt(self) -> float:
        """Seconds between two actions."""
        return self.timestep * self.frame_skip

    def observe(self, qpos: Array, qvel: Array) -> Array:
        """Body, velocities, the root's position.  [N, nq], [N, nv] -> [N, O]."""
        velocity = np.clip(qvel, -self.clip_qvel, self.clip_qvel)
        return np.concatenate([qpos[:, self.root :], velocity, qpos[:, : self.root]], -1)

    def positions(self, obs: Array) -> Array:
        """The state's positions, which an observation holds all of.  [N, O] -> [N, nq]."""
        body = obs.shape[-1] - self.root - compiled(self)[0].nv
        return np.concatenate([obs[:, obs.shape[-1] - self.root :], obs[:, :body]], -1)


@cache
def compiled(body: Body) -> tuple[Any, str]:
    """The installed gymnasium's model with the body's time step, to be read only, and its hash."""
    import gymnasium

    path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / body.asset
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*settotalmass.*")  # gymnasium's word, not ours to mend
        spec = mujoco.MjSpec.from_file(str(path))
        spec.option.timestep = body.timestep
        model = spec.compile()
        return model, hashlib.sha256(spec.to_xml().encode()).hexdigest()


def model_sha256(body: Body) -> str:
    """The hash of the adjusted model as MuJoCo writes it out."""
    return compiled(body)[1]


class Physics:
    """N simulations of one body, each with its own values of the given model fields, {field: [N, ...]}."""

    def __init__(self, body: Body, worlds: int, fields: Mapping[str, Array] | None = None) -> None:
        self.body, self.model = body, compiled(body)[0]
        self.batch = Batch(self.model, worlds, min(worlds, threads()))
        for name, values in (fields or {}).items():
            self.batch.expand(name)[:] = values  # derived constants stay the model's, as in the authors' code
        self.qpos, self.qvel, self.ctrl = (self.batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
        self.down = np.zeros(worlds, dtype=bool)  # [N]

    def reset(self, seeds: NDArray[np.int64], which: NDArray[np.bool_] | None = None) -> Array:
        """Start worlds anew from the model's first state with noise from each world's seed."""
        chosen = np.arange(len(seeds)) if which is None else np.flatnonzero(which)
        self.batch.reset(chosen, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self.down[chosen] = False
        for world in chosen:
            draw = np.random.default_rng(int(seeds[world]))
            size = self.body.reset_qpos
            self.qpos[world] += draw.uniform(-size, size, self.model.nq)
            self.qvel[world] = self.body.reset_qvel(draw, self.model.nv)
        return self.body.observe(self.qpos, self.qvel)

    def step(self, action: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Hold each action for a frame.  Until a reset the fallen lie as they fell, the diverged are nan."""
        up = ~self.down
        self.ctrl[:] = np.clip(action, -1.0, 1.0)
        self.batch.step(up, nstep=self.body.frame_skip)
        obs = self.body.observe(self.qpos, self.qvel)
        obs[self.batch.warning[:, DIVERGED, 1].any(-1)] = np.nan
        if self.body.fell is not None:
            self.down |= self.body.fell(obs)
        return obs, up & self.down
